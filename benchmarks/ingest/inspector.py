"""Images a second of the inspector and of what others check files with, and the damage each of them finds.

Run from the repository root: python -m benchmarks.ingest.inspector [--photos FOLDER] [--min-side 500]. Reads JPEGs
above 30 kB of the folder (default: photos/ of HARVESTMAN_REAL_DATA); prints two tables and writes nothing.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import imagehash
import numpy as np
import simplejpeg
from PIL import Image

from tasks.core.errors import ImageRefusedError
from tasks.ingest.inspect import HASH_SIDE, inspect

Look = Callable[[bytes], object]
ROUNDS = 7  # each method in turn, so that a busy machine hurts all alike; the median counts
THREADED_ROUNDS = 3  # of wall time, over every third photo: wants both cores for itself
WORTHWHILE = 30_000  # bytes; smaller files are thumbnails
FAULTY = 20  # photos into which faults are planted


def ours(body: bytes) -> object:
    """Everything the door does: verdict, size, contrast, both hashes."""
    return inspect(body, min_side=1, max_pixels=100_000_000, min_contrast=1.0)


def detector(body: bytes) -> object:
    """Decode strictly, gray and scaled: the part of ours that finds damage."""
    return simplejpeg.decode_jpeg(body, "GRAY", min_height=HASH_SIDE, min_width=HASH_SIDE, strict=True)


def whole(body: bytes) -> object:
    """Decode strictly with simplejpeg, in colour and at full size."""
    return simplejpeg.decode_jpeg(body, "RGB", strict=True)


def verify(body: bytes) -> None:
    """Read what Pillow's `verify` reads: no pixels."""
    with Image.open(io.BytesIO(body)) as image:
        image.verify()


def load(body: bytes) -> object:
    """Decode with Pillow, in colour and at full size."""
    with Image.open(io.BytesIO(body)) as image:
        return image.load()


def load_and_hash(body: bytes) -> object:
    """Do our work with the usual parts: Pillow's pixels, imagehash's two hashes of them."""
    with Image.open(io.BytesIO(body)) as image:
        gray = image.convert("L")
    return imagehash.phash(gray), imagehash.phash(gray, hash_size=16)


METHODS: dict[str, Look] = {
    "inspect(): verdict, size, contrast, hashes": ours,
    "its detector alone (simplejpeg, strict, gray, scaled)": detector,
    "simplejpeg, strict, full size": whole,
    "Pillow verify": verify,
    "Pillow load": load,
    "Pillow load + imagehash.phash 64 and 256": load_and_hash,
}


def without(body: bytes, start: int, length: int) -> bytes:
    """Return `body` with `length` bytes deleted."""
    return body[:start] + body[start + length :]


def zeroed(body: bytes, start: int, length: int) -> bytes:
    """Return `body` with `length` bytes set to zero."""
    return body[:start] + bytes(length) + body[start + length :]


def flipped(body: bytes, rng: np.random.Generator) -> bytes:
    """Return `body` with eight bytes of its last three quarters, mostly pixels, exchanged for others."""
    broken = bytearray(body)
    for place in rng.integers(len(body) // 4, len(body) - 2, 8):
        broken[place] ^= int(rng.integers(1, 256))
    return bytes(broken)


FAULTS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "truncated at 50 %": lambda body, _: body[: len(body) // 2],
    "truncated at 90 %": lambda body, _: body[: len(body) * 9 // 10],
    "truncated at 99 %": lambda body, _: body[: len(body) * 99 // 100],
    "4 KB zeroed inside": lambda body, _: zeroed(body, len(body) // 2, 4096),
    "1 KB deleted": lambda body, _: without(body, len(body) // 2, 1024),
    "8 byte flips": flipped,
    "100 B trailing junk (harmless)": lambda body, rng: body + rng.bytes(100),
    "nothing (whole photos)": lambda body, _: body,
}


def cpu_seconds(look: Look, bodies: list[bytes]) -> float:
    """Return the CPU time of this process for one pass."""
    start = time.process_time()
    for body in bodies:
        look(body)
    return time.process_time() - start


def threaded_gain(look: Look, bodies: list[bytes]) -> float:
    """Return how many times as fast two threads are as one, in wall time: 2 where the lock is let go, 1 where not."""
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
        ratios = []
        for _ in range(THREADED_ROUNDS):
            walls = []
            for pool in (one, two):
                start = time.perf_counter()
                list(pool.map(look, bodies))
                walls.append(time.perf_counter() - start)
            ratios.append(walls[0] / walls[1])
    return statistics.median(ratios)


def found(look: Look, bodies: list[bytes]) -> int:
    """Return how many of `bodies` the method objects to."""
    count = 0
    for body in bodies:
        try:
            look(body)
        except (ImageRefusedError, OSError, SyntaxError, ValueError):
            count += 1
    return count


def photos(folder: Path, min_side: int) -> list[bytes]:
    """Return the JPEGs worth measuring: large enough, and whole to every method."""
    bodies = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in {".jpg", ".jpeg"} or path.stat().st_size < WORTHWHILE:
            continue
        body = path.read_bytes()
        with Image.open(io.BytesIO(body)) as image:
            size = max(image.size)
        if size >= min_side and not found(whole, [body]):
            bodies.append(body)
    return bodies


def tell_speed(bodies: list[bytes]) -> None:
    """Print images per CPU-second, and what a second thread brings."""
    spent: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(ROUNDS):
        for name, look in METHODS.items():
            spent[name].append(cpu_seconds(look, bodies))
    base = spent["Pillow load"]
    print(f"{'method':56}{'images / CPU s':>15}{'x Pillow load':>15}{'x with 2 threads':>18}")
    for name, seconds in spent.items():
        ratio = statistics.median(theirs / own for theirs, own in zip(base, seconds, strict=True))
        rate = len(bodies) / statistics.median(seconds)
        print(f"{name:56}{rate:>15,.0f}{ratio:>15.2f}{threaded_gain(METHODS[name], bodies[::3]):>18.2f}")


def tell_damage(bodies: list[bytes]) -> None:
    """Print how many of the photos with each planted fault each method objects to."""
    rng = np.random.default_rng(1337)
    step = max(1, len(bodies) // FAULTY)
    chosen = bodies[::step][:FAULTY]
    looks = {"inspect()": ours, "Pillow verify": verify, "Pillow load": load, "simplejpeg": whole}
    print(f"\n{f'of {len(chosen)} photos, objected to':34}" + "".join(f"{name:>15}" for name in looks))
    for name, plant in FAULTS.items():
        broken = [plant(body, rng) for body in chosen]
        print(f"{name:34}" + "".join(f"{found(look, broken):>15}" for look in looks.values()))


def main() -> None:
    """Print both tables."""
    default = Path(os.environ.get("HARVESTMAN_REAL_DATA", "../shared/data")) / "photos"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, default=default)
    parser.add_argument("--min-side", type=int, default=500, help="longer side of a photo at least, in pixels")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
    bodies = photos(arguments.photos, arguments.min_side)
    if not bodies:
        raise SystemExit(
            f"{arguments.photos} holds no JPEG above {WORTHWHILE:,} bytes with {arguments.min_side} pixels."
        )
    sizes = statistics.median(len(body) for body in bodies)
    print(f"{len(bodies)} photos, {sizes / 1000:.0f} kB in the median, {ROUNDS} rounds\n")
    tell_speed(bodies)
    tell_damage(bodies)


if __name__ == "__main__":
    main()
