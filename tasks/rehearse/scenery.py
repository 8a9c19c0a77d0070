"""One painted scene: a creature of a class in its habitat. Pure functions from a random generator to pixels.

Owns what tells painted classes apart (colour, pattern, outline, legs, habitat) and how much they overlap.
Reads and writes nothing.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Floats = npt.NDArray[np.float32]
Colour = tuple[int, int, int]

_GOLDEN = (0.6180340, 0.7548777, 0.5698403, 0.8191725)  # low-discrepancy steps: far apart for any number of classes
_HUE_SPREAD = 0.07  # standard deviation of the body's hue: neighbours of four classes overlap by about a tenth
_HOME = 0.45  # share of observations in the habitat the class prefers; the rest is anywhere
_MARKED = 0.8  # share of individuals with the class's own markings; the rest wear any
_FOREIGN = 0.35  # share of the litter in a colour that may be any class's
_TWIGS = 0.3  # share of the litter that is twigs
_INSIDE = 128  # mask value from which a pixel is the body's
_HABITATS = 6
_PATTERNS = 5


@dataclass(frozen=True)
class Kind:
    """What the creatures of one class have in common."""

    hue: float  # 0-1, mean of the body's hue
    habitat: int
    pattern: int
    wave: float  # pattern periods over the body's length
    slender: float  # length by width of the body
    segments: int
    legs: int  # pairs
    reach: float  # leg length by body length


def kind_of(k: int, n: int, seed: int) -> Kind:
    """Return the look of class `k` of `n`."""
    start = float(np.random.default_rng([seed, n]).random())
    a, b, c, d = ((start + k * step) % 1.0 for step in _GOLDEN)
    return Kind(
        hue=(start + k / n) % 1.0,
        habitat=k % _HABITATS,
        pattern=k % _PATTERNS,
        wave=2.5 + 4.0 * a,
        slender=1.0 + 1.3 * b,
        segments=1 + k % 3,
        legs=2 + int(c * 4),
        reach=0.5 + 0.8 * d,
    )


def scene(kind: Kind, rng: np.random.Generator, size: int) -> Image.Image:
    """Paint one observation: an RGB square of `size` pixels, the creature near its middle."""
    habitat = kind.habitat if rng.random() < _HOME else int(rng.integers(_HABITATS))
    world = _ground(habitat, rng, size)
    _litter(world, rng, habitat)
    tile, length = _creature(kind, rng, size // 2)
    tile = tile.rotate(float(rng.uniform(0, 360)), resample=Image.Resampling.BICUBIC)
    corner = tuple(int(v) for v in (size - tile.width) / 2 + rng.normal(0, size * 0.03, 2))
    drop = int(length * rng.uniform(0.02, 0.08)) + 1
    shadow = tile.getchannel("A").filter(ImageFilter.GaussianBlur(drop)).point(lambda v: v * 0.55)
    world.paste((12, 14, 18), (corner[0] + drop, corner[1] + drop), shadow)
    world.paste(tile, (corner[0], corner[1]), tile)
    return world


def noise(rng: np.random.Generator, size: tuple[int, int], *, coarse: int, octaves: int) -> Floats:
    """Return smooth noise of `size` (width, height), 0 to 1: grids of `coarse` cells, each octave twice as fine."""
    total = np.zeros((size[1], size[0]), np.float32)
    for octave in range(octaves):
        cells = coarse * 2**octave + 1
        grid = Image.fromarray(rng.random((cells, cells), np.float32))
        total += np.asarray(grid.resize(size, Image.Resampling.BICUBIC)) * 0.55**octave
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / (high - low), np.float32)


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0), 1), min(max(value, 0), 1))
    return round(red * 255), round(green * 255), round(blue * 255)


def _ground_colours(habitat: int, rng: np.random.Generator) -> list[Colour]:
    """Three colours from shade to light; habitats differ in hue and overlap in everything else."""
    hue = (0.08, 0.25, 0.33, 0.12, 0.58, 0.95)[habitat] + rng.normal(0, 0.04)
    saturation = (0.45, 0.55, 0.4, 0.25, 0.3, 0.2)[habitat] + rng.normal(0, 0.1)
    levels = np.sort(rng.uniform([0.12, 0.35, 0.6], [0.4, 0.65, 0.95]))
    return [_rgb(hue + rng.normal(0, 0.03), saturation + rng.normal(0, 0.08), float(level)) for level in levels]


def _ground(habitat: int, rng: np.random.Generator, size: int) -> Image.Image:
    height = noise(rng, (size, size), coarse=int(rng.integers(2, 5)), octaves=5)
    grain = noise(rng, (size, size), coarse=(8, 30, 18, 60, 6, 12)[habitat], octaves=2)
    index = np.clip((height * 0.75 + grain * 0.35) * 255, 0, 255).astype(np.uint8)
    shade, middle, light = np.array(_ground_colours(habitat, rng), np.float32)
    ramp = np.linspace(0, 2, 256, dtype=np.float32)[:, None]
    table = np.where(ramp < 1, shade + (middle - shade) * ramp, middle + (light - middle) * (ramp - 1))
    return Image.fromarray(table.astype(np.uint8)[index])


def _litter(world: Image.Image, rng: np.random.Generator, habitat: int) -> None:
    """Scatter leaves, twigs and pebbles; some wear the colours of other classes."""
    draw, size = ImageDraw.Draw(world), world.width
    for _ in range(int(rng.integers(10, 26))):
        hue = float(rng.random()) if rng.random() < _FOREIGN else (0.08, 0.28, 0.33, 0.1, 0.5, 0.05)[habitat]
        colour = _rgb(hue + rng.normal(0, 0.03), rng.uniform(0.2, 0.7), rng.uniform(0.15, 0.85))
        x, y = rng.uniform(0, size, 2)
        length, angle = rng.uniform(0.06, 0.22) * size, rng.uniform(0, math.tau)
        if rng.random() < _TWIGS:
            end = (x + 2 * length * math.cos(angle), y + 2 * length * math.sin(angle))
            draw.line([(x, y), end], fill=colour, width=int(rng.integers(2, 6)))
        else:
            draw.polygon(_leaf((x, y), (length, length * rng.uniform(0.15, 0.5)), angle), fill=colour)


def _leaf(centre: tuple[float, float], axes: tuple[float, float], angle: float) -> list[tuple[float, float]]:
    turn = np.linspace(0, math.tau, 18)
    along, across = axes[0] / 2 * np.cos(turn), axes[1] / 2 * np.sin(turn)
    xs = centre[0] + along * math.cos(angle) - across * math.sin(angle)
    ys = centre[1] + along * math.sin(angle) + across * math.cos(angle)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))


def _creature(kind: Kind, rng: np.random.Generator, tile: int) -> tuple[Image.Image, float]:
    """Return an RGBA square of `tile` pixels with the creature lying along x, and its body's length."""
    length = tile * float(rng.uniform(0.38, 0.6))
    width = length / max(kind.slender * float(rng.normal(1, 0.12)), 0.8)
    body = _body_mask(kind.segments, tile, (length, width))
    legs = _leg_mask(kind, rng, tile=tile, axes=(length, width))
    axis = (np.arange(tile, dtype=np.float32) - tile / 2) / (length / 2)
    along, across = axis[None, :], axis[:, None] * (length / width)
    hue = kind.hue + float(rng.normal(0, _HUE_SPREAD))
    base = np.array(_rgb(hue, rng.uniform(0.45, 0.9), rng.uniform(0.5, 0.95)), np.float32)
    marks = np.array(_rgb(hue + rng.normal(0.08, 0.05), rng.uniform(0.3, 0.8), rng.uniform(0.08, 0.35)), np.float32)
    drawn = _markings(kind, rng, (along, across))[..., None]
    light = np.clip(1.1 - 0.45 * (along**2 + (across + 0.3) ** 2), 0.35, 1.1)[..., None]
    skin = (base + (marks - base) * drawn) * light
    limb = base * 0.35 + marks * 0.5
    colours = np.where(np.asarray(body)[..., None] >= _INSIDE, skin, limb)
    alpha = np.maximum(np.asarray(body), np.asarray(legs))
    return Image.fromarray(np.dstack([np.clip(colours, 0, 255).astype(np.uint8), alpha])), length


def _body_mask(segments: int, tile: int, axes: tuple[float, float]) -> Image.Image:
    """Ellipses in a row, drawn at twice the size and reduced so that the edge is smooth."""
    length, width = axes
    mask = Image.new("L", (2 * tile, 2 * tile))
    draw = ImageDraw.Draw(mask)
    for part in range(segments):
        middle = tile + (part - (segments - 1) / 2) * length * 1.3 / segments
        half = length * (1.0 if segments == 1 else 1.5 / segments)
        high = width * (1.0 - 0.22 * part)
        draw.ellipse([middle - half, tile - high, middle + half, tile + high], fill=255)
    return mask.reduce(2)


def _leg_mask(kind: Kind, rng: np.random.Generator, *, tile: int, axes: tuple[float, float]) -> Image.Image:
    length, width = axes
    mask = Image.new("L", (2 * tile, 2 * tile))
    draw = ImageDraw.Draw(mask)
    thick = max(2, int(length * rng.uniform(0.03, 0.06)))
    for pair in range(kind.legs):
        spread = (pair - (kind.legs - 1) / 2) / kind.legs
        for side in (-1, 1):
            angle = side * (math.pi / 2 - spread * 1.9 + rng.normal(0, 0.1))
            step = length * kind.reach * float(rng.normal(1, 0.08))
            hip = (tile + spread * length * 1.2, tile + side * width * 0.5)
            knee = (hip[0] + step * math.cos(angle), hip[1] + step * math.sin(angle))
            bend = angle - side * spread * 1.6 - 0.3 * side
            foot = (knee[0] + step * math.cos(bend), knee[1] + step * math.sin(bend))
            draw.line([hip, knee, foot], fill=255, width=thick, joint="curve")
    return mask.reduce(2)


def _markings(kind: Kind, rng: np.random.Generator, frame: tuple[Floats, Floats]) -> Floats:
    """Return how much of the second colour each pixel wears, 0 to 1, from body coordinates (-1 to 1)."""
    along, across = frame
    wave = kind.wave * math.pi * float(rng.normal(1, 0.12))
    phase = float(rng.uniform(0, math.tau))
    drawn = (
        np.sin(wave * along + phase) + 0 * across,
        np.sin(wave * across + phase) + 0 * along,
        np.sin(wave * along) * np.sin(wave * across + phase) * 1.6 - 0.2,
        np.sin(wave * np.hypot(along, across) + phase),
        np.sin(wave * (along + 0.8 * np.abs(across)) + phase),
    )[kind.pattern if rng.random() < _MARKED else int(rng.integers(_PATTERNS))]
    return (np.clip(0.5 + 1.4 * drawn, 0, 1) * rng.uniform(0.35, 1.0)).astype(np.float32)
