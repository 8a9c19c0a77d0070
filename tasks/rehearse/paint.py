"""Procedural labelled photos: what a rehearsal shows when there are no real ones.

Writes `<folder>/<class>/<observation>_<k>.<ext>`. One observation is one painted scene seen one to three
times: another crop, angle, light, size and file format each time.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tasks.core.files import write_atomic
from tasks.rehearse.scenery import Floats, Kind, kind_of, noise, scene

OBSERVATIONS = r"^(.+)_\d+\.\w+$"
"""Names the observation of a painted file."""

_WORLD = 1.9  # side of a scene by side of a photo: any crop below stays inside
_ASPECTS = (1.0, 4 / 3, 3 / 4, 3 / 2, 2 / 3, 16 / 9)
_BLURRED = 0.3  # share of photos out of focus
_PNG, _WEBP, _GRAY = 0.07, 0.07, 0.05  # shares of photos; all others are colour JPEGs
_PHOTOS = (0.45, 0.35, 0.2)  # shares of observations with one, two and three photos


def paint(folder: Path, classes: Sequence[str], *, per_class: int, seed: int, side: int) -> list[Path]:
    """Paint `per_class` photos of each class into sub-folders of `folder`.

    Args:
        folder: Where the sub-folders go, one a class.
        classes: Class names; the look of a class depends on its place among them.
        per_class: Photos of each class.
        seed: Same seed, same bytes (with the same Pillow).
        side: Typical longer side in pixels; single photos have 0.7 to 1.35 times as much.

    Returns:
        The files written, in order.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    written: list[Path] = []
    for k, name in enumerate(classes):
        kind = kind_of(k, len(classes), seed)
        made: list[Path] = []
        number = 0
        while len(made) < per_class:
            rng = np.random.default_rng([seed, k, number])
            made += _observation(folder / name / f"{number:04d}", kind, rng, side=side, most=per_class - len(made))
            number += 1
        written += made
    return written


def _observation(stem: Path, kind: Kind, rng: np.random.Generator, *, side: int, most: int) -> list[Path]:
    world = scene(kind, rng, int(side * _WORLD))
    turn = float(rng.uniform(0, math.tau))
    files = []
    for k in range(min(int(rng.choice(len(_PHOTOS), p=_PHOTOS)) + 1, most)):
        photo = _exposed(_taken(world, rng, side=side, turn=turn + k * rng.uniform(0.7, 1.3)), rng)
        suffix, body = _encoded(photo, rng)
        files.append(_write(stem.with_name(f"{stem.name}_{k}.{suffix}"), body))
    return files


def _write(path: Path, body: bytes) -> Path:
    return write_atomic(path, lambda out: out.write(body))


def _taken(world: Image.Image, rng: np.random.Generator, *, side: int, turn: float) -> Image.Image:
    """Cut a rotated, zoomed, shifted window out of the scene."""
    longer = side * float(rng.uniform(0.7, 1.35))
    aspect = float(rng.choice(_ASPECTS))
    width, height = int(longer * min(aspect, 1.0)), int(longer * min(1 / aspect, 1.0))
    seen = side * float(rng.uniform(0.62, 1.05))  # scene pixels along the longer side
    step = seen / longer
    c, s = math.cos(turn) * step, math.sin(turn) * step
    middle = world.width / 2 + rng.normal(0, seen * 0.11, 2)
    x0 = middle[0] - c * width / 2 + s * height / 2
    y0 = middle[1] - s * width / 2 - c * height / 2
    return world.transform(
        (width, height), Image.Transform.AFFINE, (c, -s, x0, s, c, y0), resample=Image.Resampling.BICUBIC
    )


def _exposed(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Light from one side, patchy shade, a colour cast, gamma, blur and grain."""
    if rng.random() < _BLURRED:
        photo = photo.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 1.2))))
    pixels: Floats = np.asarray(photo, np.float32) / np.float32(255)
    angle, strength = rng.uniform(0, math.tau), rng.uniform(0.1, 0.55)
    xs = np.linspace(-1, 1, photo.width, dtype=np.float32)[None, :]
    ys = np.linspace(-1, 1, photo.height, dtype=np.float32)[:, None]
    light = 1 + strength * (math.cos(angle) * xs + math.sin(angle) * ys)
    light *= 0.7 + 0.6 * noise(rng, photo.size, coarse=2, octaves=2)
    cast = rng.normal(1, 0.07, 3).astype(np.float32)
    pixels = np.clip(pixels * light[..., None] * cast * float(rng.uniform(0.75, 1.2)), 0, 1)
    pixels = pixels ** float(rng.uniform(0.75, 1.3)) * 255
    pixels += rng.standard_normal(pixels.shape, np.float32) * float(rng.uniform(1.5, 9))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _encoded(photo: Image.Image, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return a file suffix and the file's bytes: mostly JPEG, some gray, some PNG and WebP."""
    draw, quality = float(rng.random()), int(rng.integers(55, 96))
    stream = io.BytesIO()
    if draw < _PNG:
        photo.save(stream, "PNG", compress_level=3)
        return "png", stream.getvalue()
    if draw < _PNG + _WEBP:
        photo.save(stream, "WEBP", quality=quality, method=1)
        return "webp", stream.getvalue()
    (photo.convert("L") if draw < _PNG + _WEBP + _GRAY else photo).save(stream, "JPEG", quality=quality)
    return "jpg", stream.getvalue()
