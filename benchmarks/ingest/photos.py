"""The photos that the ingest benchmarks serve: JPEGs of the size of real ones, each different from all others.

Reads the folder of real photos where there is one (HARVESTMAN_REAL_DATA, default ../shared/data beside the checkout).
Writes <folder>/<number>.jpg, once: a folder that is there is used again.
"""

from __future__ import annotations

import io
import os
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from tasks.core.files import publishing
from tasks.rehearse.paint import paint

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("HARVESTMAN_REAL_DATA", ROOT.parent / "shared" / "data"))
FOLDER = Path(tempfile.gettempdir()) / "harvestman-bench"
_REAL_SIZED = 30_000  # bytes; thumbnails of search engines are smaller
_PAINTED = 120  # scenes; a painted one takes a hundred times as long as a varied one
_SIDE = 640  # pixels of the painted ones, on the longer side
_SEED = 1337


def photos(folder: Path, count: int) -> list[Path]:
    """Return `count` different photos in `folder`, made now or by an earlier run.

    One in four varies a painted photo, the others real ones; all of them painted ones where there are no real photos.
    """
    made = folder / f"photos-{count}"
    if not made.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with publishing(made) as part:
            _fill(part, count, _sources(folder))
    return sorted(made.glob("*.jpg"))


def _sources(folder: Path) -> list[Path]:
    real = sorted(path for path in (DATA / "photos").rglob("*.jpg") if path.stat().st_size > _REAL_SIZED)
    with publishing(folder / "painted") as part:
        paint(part, ["bark", "shell", "feather"], per_class=_PAINTED // 3, seed=_SEED, side=_SIDE)
    painted = sorted(path for path in (folder / "painted").rglob("*") if path.is_file())
    if not real:
        return painted
    third = len(painted) * 3
    return [*painted, *random.Random(_SEED).sample(real, min(third, len(real)))]  # noqa: S311 - no secret


def _fill(folder: Path, count: int, sources: list[Path]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(partial(_vary, folder, sources), range(count)):
            pass


def _vary(folder: Path, sources: list[Path], number: int) -> None:
    """Write one photo brighter or darker than its source, mirrored or not, in a quality of its own."""
    rng = random.Random(_SEED * 1_000_003 + number)  # noqa: S311 - no secret
    with Image.open(sources[number % len(sources)]) as source:
        image = ImageEnhance.Brightness(source.convert("RGB")).enhance(rng.uniform(0.7, 1.3))
    image = ImageOps.mirror(image) if rng.random() < 0.5 else image  # noqa: PLR2004 - a coin
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=rng.randint(75, 92))
    (folder / f"{number:05d}.jpg").write_bytes(stream.getvalue())
