"""Where gray ends: the colour of real photos, of scans painted here, and what measuring 10,000 images costs.

Run from the repository root: python -m benchmarks.curate.colour [--photos FOLDER] [--images 10000]. Reads the photos of
HARVESTMAN_REAL_DATA; prints three tables and keeps nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from tasks.core.workspace import Workspace
from tasks.curate.colour import colour_of, measure_colour
from tasks.curate.rules.gray import GRAY_BELOW

Floats = NDArray[np.float64]
SCANS = 60  # of each kind
PHOTOS = {".jpg", ".jpeg", ".png", ".gif", ".webp"}
_RNG = np.random.default_rng(1337)


def _cast(*gains: float, noise: float = 3, lift: float = 0) -> Callable[[Floats], Floats]:
    """Return what a scanner makes of gray: a gain and a lift for each channel, and noise in each."""
    tint = np.array(gains) if gains else np.ones(3)

    def scan(gray: Floats) -> Floats:
        shifted = gray[..., None] * tint + np.array([lift, 0.0, -lift])
        return shifted + _RNG.normal(0, noise, shifted.shape) if noise else shifted

    return scan


SCANNERS: dict[str, Callable[[Floats], Floats]] = {
    "gray stored as colours": _cast(noise=0),
    "noise of 2 levels": _cast(noise=2),
    "noise of 5 levels": _cast(noise=5),
    "noise of 8 levels": _cast(noise=8),
    "even cast of 8 levels": _cast(lift=8),
    "gain 1 .98 .96": _cast(1, 0.98, 0.96),
    "gain 1 .97 .92": _cast(1, 0.97, 0.92),
    "yellowed paper, 1 .95 .80": _cast(1, 0.95, 0.8),
    "sepia, 1 .86 .67": _cast(1, 0.86, 0.67, noise=0),
}


def drawing() -> Floats:
    """Paint lines, ellipses and arcs of ink on paper, 300 to 1,200 pixels a side."""
    width, height = _RNG.integers(300, 1200, 2).tolist()
    image = Image.new("L", (width, height), int(_RNG.integers(225, 250)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(_RNG.integers(20, 120))):
        left, top = int(_RNG.integers(0, width)), int(_RNG.integers(0, height))
        right, low = left + int(_RNG.integers(1, 150)), top + int(_RNG.integers(1, 150))
        ink, pen = int(_RNG.integers(0, 90)), int(_RNG.integers(1, 6))
        draw.line((left, top, right, low), ink, pen)
        draw.arc((left, top, right, low), 0, float(_RNG.integers(30, 360)), ink, pen)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float64)


def scanned(pixels: Floats, quality: int) -> bytes:
    """Encode pixels as a JPEG whose chroma has half the resolution, as most have."""
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def row(name: str, colours: list[float]) -> None:
    """Print one line of percentiles."""
    low, fifth, median, high, most = np.percentile(colours, (0, 5, 50, 95, 100))
    gray = sum(colour < GRAY_BELOW for colour in colours)
    print(f"{name:34} {len(colours):>5} {low:>7.2f} {fifth:>6.2f} {median:>6.2f} {high:>6.2f} {most:>6.2f} {gray:>6}")


def real(photos: Path) -> list[bytes]:
    """Print the colours of real photos, a line a folder; return the bytes of all."""
    everything = []
    for folder in sorted(path for path in photos.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PHOTOS)
        bodies = [path.read_bytes() for path in files]
        found = [(colour_of(body), path) for body, path in zip(bodies, files, strict=True)]
        row(folder.name, [colour for colour, _ in found if colour is not None])
        least = sorted((colour, path.name) for colour, path in found if colour is not None and colour > 0)[:4]
        print(f"{'':4}least above 0: {', '.join(f'{colour:.2f} {name[:24]}' for colour, name in least) or 'none'}")
        everything += bodies
    return everything


def cost(bodies: list[bytes], images: int) -> None:
    """Print the CPU seconds for so many small JPEGs in a store, and for asking again."""
    with tempfile.TemporaryDirectory() as folder:
        workspace, rows = Workspace(Path(folder)), []
        jpegs = [body for body in bodies if body[:2] == b"\xff\xd8" and len(body) < 60_000]  # noqa: PLR2004 - small
        for number in range(images):
            body = jpegs[number % len(jpegs)] + number.to_bytes(4)  # trailing bytes make another file of it
            sha256 = hashlib.sha256(body).hexdigest()
            path = workspace.image(sha256, "JPEG")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            rows.append((sha256, "JPEG"))
        table = pl.DataFrame(rows, schema=["sha256", "format"], orient="row")
        for turn in ("first run", "again"):
            wall, cpu = time.perf_counter(), time.process_time()
            measure_colour(workspace, Path(folder) / "collection", table)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"{images:>8,} images, {turn}: {wall:.2f} s, {cpu:.2f} s of CPU")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    data = Path(os.environ.get("HARVESTMAN_REAL_DATA", "../shared/data"))
    parser.add_argument("--photos", type=Path, default=data / "photos")
    parser.add_argument("--images", type=int, default=10_000)
    arguments = parser.parse_args()
    print(f"{'':34} {'files':>5} {'least':>7} {'5 %':>6} {'median':>6} {'95 %':>6} {'most':>6} {'gray':>6}")
    bodies = real(arguments.photos)
    drawings = [drawing() for _ in range(SCANS)]
    prints = [
        np.asarray(Image.open(io.BytesIO(body)).convert("L"), np.float64) for body in bodies[:: len(bodies) // 60]
    ]
    for name, scanner in SCANNERS.items():
        for kind, pictures in (("drawing", drawings), ("photo", prints)):
            for quality in (90, 60):
                colours = [colour_of(scanned(scanner(picture), quality)) for picture in pictures]
                row(f"{kind}, {name}, q{quality}", [colour for colour in colours if colour is not None])
    cost(bodies, arguments.images)


if __name__ == "__main__":
    main()
