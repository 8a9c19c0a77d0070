"""A folder of photos in which copies and faults are planted, and the truth about it.

Reads the real photos where there are some (HARVESTMAN_REAL_DATA, default ../shared/data beside the checkout) and paints
others. Writes <folder>/planted-<method>-<seed>/{files/<class>/…, truth.json}, once; the same seed, the same files.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from benchmarks.ingest.photos import DATA, FOLDER
from tasks.core.files import publishing, write_json
from tasks.rehearse.paint import paint

SEED = 1337
ORIGINAL, FLAT = "original", "flat"
_METHOD = 1  # raised with every change of what is planted
_SETS = ("ants-bees", "bears-google", "bears-polar", "bees-google", "spiders")  # fish: frames, no clear truth
_TWINS = Path(__file__).with_name("twins.txt")  # what is left out, and why
_PAINTED = ("bark", "shell", "feather")  # classes; strangers that look alike
_PER_CLASS, _SIDE = 175, 360  # painted photos of a class, of which about a hundred show scenes of their own; pixels
_BLOCKS = 100  # of _BLOCK originals with copies: each edit is planted as often
_BLOCK = 4  # originals that share all edits among them
_FAULTY = 15  # files of each fault
_FLATS = 20
_SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_SCANNED = 20_000  # bytes of a JPEG in which 4 KB can be zeroed without touching its header

File = tuple[str, bytes]
"""Its suffix and its bytes."""


@dataclass(frozen=True)
class Planted:
    """A folder and the truth about it."""

    folder: Path
    files: dict[str, tuple[str, str]]
    """Path below the folder → number of the picture that it shows, and `original`, an edit, a fault or `flat`."""

    def of(self, kinds: Iterable[str]) -> list[str]:
        """Return the paths of some kinds."""
        wanted = set(kinds)
        return [path for path, (_, kind) in self.files.items() if kind in wanted]

    @property
    def whole(self) -> list[str]:
        """Paths of the files that every program can read."""
        return [path for path, (_, kind) in self.files.items() if kind not in FAULTS]


def plant(folder: Path, *, seed: int = SEED) -> Planted:
    """Return the planted files below `folder`, made now or by an earlier run."""
    made = folder / f"planted-{_METHOD}-{seed}"
    if not made.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with publishing(made) as part:
            _fill(part, _sources(folder / f"painted-{_METHOD}-{seed}", seed), random.Random(seed))  # noqa: S311
    truth = json.loads((made / "truth.json").read_text(encoding="utf-8"))
    return Planted(made / "files", {path: (source, kind) for path, (source, kind) in truth.items()})


@dataclass(frozen=True)
class _Source:
    """A picture unlike all others."""

    label: str
    suffix: str
    content: bytes

    def picture(self) -> Image.Image:
        with Image.open(io.BytesIO(self.content)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")


def _sources(painted: Path, seed: int) -> list[_Source]:
    """Return the real photos, each once, and the painted ones, one a scene."""
    found: dict[str, _Source] = {}
    twins = {line[:12] for line in _TWINS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")}
    for path in sorted(itertools.chain.from_iterable((DATA / "photos" / name).rglob("*") for name in _SETS)):
        if path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            with Image.open(io.BytesIO(content)) as image:
                suffix = _SUFFIX.get(image.format or "")
            if suffix and digest[:12] not in twins:
                found.setdefault(digest, _Source(path.relative_to(DATA / "photos").parts[0], suffix, content))
    if not painted.is_dir():
        with publishing(painted) as part:
            paint(part, _PAINTED, per_class=_PER_CLASS, seed=seed, side=_SIDE)
    scenes = sorted(path for path in painted.rglob("*_0.*"))
    drawn = [_Source("painted", path.suffix[1:], path.read_bytes()) for path in scenes]
    return [found[digest] for digest in sorted(found)] + drawn


def _fill(folder: Path, sources: list[_Source], rng: random.Random) -> None:
    """Write the files under numbers that tell nothing, and the truth."""
    rng.shuffle(sources)
    faulty, sources = _for_faults(sources)
    plan = [*_originals(sources, rng), *_faults(faulty, rng), *_flats(rng)]
    rng.shuffle(plan)
    truth: dict[str, tuple[str, str]] = {}
    with ThreadPoolExecutor(2) as pool:
        files = pool.map(lambda one: one.make(), plan)
        for number, (one, (suffix, content)) in enumerate(zip(plan, files, strict=True)):
            path = Path(one.label) / f"{number:05d}.{suffix}"
            (folder / "files" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "files" / path).write_bytes(content)
            truth[str(path)] = (one.source, one.kind)
    write_json(folder / "truth.json", truth)


@dataclass(frozen=True)
class _Planned:
    """A file to come."""

    label: str
    source: str
    kind: str
    make: Callable[[], File]


def _for_faults(sources: list[_Source]) -> tuple[list[_Source], list[_Source]]:
    """Part the sources: those that stand in the folder with a fault only, and the others."""
    fit = [source for source in sources if source.suffix == "jpg" and len(source.content) > _SCANNED]
    faulty = fit[: min(_FAULTY * len(FAULTS), len(fit) // 3)]
    taken = {id(source) for source in faulty}
    return faulty, [source for source in sources if id(source) not in taken]


def _originals(sources: Sequence[_Source], rng: random.Random) -> Iterator[_Planned]:
    blocks = min(_BLOCKS, len(sources) // (3 * _BLOCK))
    edits: list[str] = []
    for number, source in enumerate(sources):
        name = f"{number:05d}"
        yield _Planned(source.label, name, ORIGINAL, partial(EDITS["identical"], source, rng))
        if number >= blocks * _BLOCK:
            continue
        if not number % _BLOCK:
            edits = rng.sample(sorted(EDITS), len(EDITS))
        each = len(EDITS) // _BLOCK
        for edit in edits[number % _BLOCK * each :][:each]:
            drawn = random.Random(rng.random())  # noqa: S311 - its own: threads take them in any order
            yield _Planned(source.label, name, edit, partial(EDITS[edit], source, drawn))


def _faults(sources: Sequence[_Source], rng: random.Random) -> Iterator[_Planned]:
    for number, source in enumerate(sources):
        fault, drawn = list(FAULTS)[number % len(FAULTS)], random.Random(rng.random())  # noqa: S311
        yield _Planned(source.label, f"fault-{number:03d}", fault, partial(FAULTS[fault], source, drawn))


def _flats(rng: random.Random) -> Iterator[_Planned]:
    """Yield plain colours, no two the same."""
    colours = rng.sample(list(itertools.product(range(0, 256, 51), repeat=3)), _FLATS)
    for number, colour in enumerate(colours):
        size = (rng.randint(120, 400), rng.randint(120, 400))
        form = ("JPEG", "PNG")[number % 2]
        yield _Planned(FLAT, f"flat-{number:02d}", FLAT, partial(_file, Image.new("RGB", size, colour), form))


def _file(image: Image.Image, form: str = "JPEG", quality: int = 90, **options: object) -> File:
    stream = io.BytesIO()
    image.save(stream, form, quality=quality, **options)
    return _SUFFIX[form], stream.getvalue()


def _resized(source: _Source, share: float) -> File:
    picture = source.picture()
    size = (round(picture.width * share), round(picture.height * share))
    return _file(picture.resize(size, Image.Resampling.LANCZOS))


def _cropped(source: _Source, rng: random.Random) -> File:
    """Cut 2 to 3 % off the width and off the height, at the edges in any proportion."""
    picture = source.picture()
    edges = []
    for length in picture.size:
        lost = max(1, round(length * rng.uniform(0.02, 0.03)))
        start = rng.randint(0, lost)
        edges.append((start, length - lost + start))
    (left, right), (top, bottom) = edges
    return _file(picture.crop((left, top, right, bottom)))


def _brightened(source: _Source, factor: float) -> File:
    return _file(ImageEnhance.Brightness(source.picture()).enhance(factor))


def _watermarked(source: _Source) -> File:
    """Write half-transparent words into the lower right corner, about a quarter of the width."""
    picture = source.picture()
    words, font = "photo archive", ImageFont.load_default(max(9, picture.width // 25))
    left, top, right, bottom = font.getbbox(words)
    mark = Image.new("RGBA", (int(right - left) + 6, int(bottom - top) + 6), (40, 40, 40, 110))
    ImageDraw.Draw(mark).text((3 - left, 3 - top), words, font=font, fill=(255, 255, 255, 200))
    picture.paste(mark, (picture.width - mark.width - 4, picture.height - mark.height - 4), mark)
    return _file(picture)


def _stored_turned(source: _Source) -> File:
    """Turn the pixels and say so in the EXIF orientation, as cameras do: every viewer shows the same picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return _file(source.picture().transpose(Image.Transpose.ROTATE_90), quality=95, exif=exif)


EDITS: dict[str, Callable[[_Source, random.Random], File]] = {
    "identical": lambda source, _: (source.suffix, source.content),
    "jpeg 85": lambda source, _: _file(source.picture(), quality=85),
    "jpeg 60": lambda source, _: _file(source.picture(), quality=60),
    "resized 75 %": lambda source, _: _resized(source, 0.75),
    "resized 50 %": lambda source, _: _resized(source, 0.5),
    "cropped 2-3 %": _cropped,
    "brighter 15 %": lambda source, _: _brightened(source, 1.15),
    "darker 15 %": lambda source, _: _brightened(source, 0.85),
    "watermark": lambda source, _: _watermarked(source),
    "png": lambda source, _: _file(source.picture(), "PNG"),
    "webp": lambda source, _: _file(source.picture(), "WEBP", quality=80),
    "EXIF-turned": lambda source, _: _stored_turned(source),
}


def _truncated(source: _Source, rng: random.Random) -> File:
    return "jpg", source.content[: int(len(source.content) * rng.uniform(0.5, 0.9))]


def _zeroed(source: _Source, rng: random.Random) -> File:
    start = int(len(source.content) * rng.uniform(0.4, 0.6))
    return "jpg", source.content[:start] + bytes(4096) + source.content[start + 4096 :]


def _misnamed(source: _Source, rng: random.Random) -> File:
    form, suffix = rng.choice((("PNG", "jpg"), ("JPEG", "png"), ("WEBP", "jpg")))
    return suffix, _file(source.picture(), form)[1]


FAULTS: dict[str, Callable[[_Source, random.Random], File]] = {
    "truncated": _truncated,
    "4 KB zeroed": _zeroed,
    "page as .jpg": lambda _, rng: ("jpg", f"<!DOCTYPE html>\n<title>404 {rng.random()}</title>\n".encode()),
    "empty": lambda _source, _rng: ("jpg", b""),
    "wrong extension": _misnamed,
}


def main() -> None:
    """Print how many files of each kind there are."""
    planted = plant(FOLDER)
    kinds = [kind for _, kind in planted.files.values()]
    size = sum((planted.folder / path).stat().st_size for path in planted.files)
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(sorted(kinds)))
    sys.stdout.write(f"{planted.folder}: {len(kinds):,} files, {size / 1e6:.0f} MB: {counts}\n")


if __name__ == "__main__":
    main()
