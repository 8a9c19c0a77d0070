"""The tables that pass between stages: their columns, the outcome slugs, reading and writing.

Reads and writes Parquet. Tables that grow are folders of immutable shards, each written to a
temporary name and renamed, so any number of workers can add to them without a lock.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from tasks.core.files import write_atomic
from tasks.core.fingerprint import fingerprint
from tasks.core.identity import photo_identity

Schema = dict[str, pl.DataType]

CANDIDATES: Schema = {
    "url": pl.String(),
    "label": pl.String(),
    "source": pl.String(),
    "source_id": pl.String(),
    "group_id": pl.String(),  # the observation; null where a source knows none
    "taxon": pl.String(),
    "licence": pl.String(),  # SPDX-like slug: cc0, cc-by, cc-by-nc-sa, all-rights-reserved; null = unknown
    "creator": pl.String(),
    "page_url": pl.String(),
    "observed_on": pl.Date(),
    "latitude": pl.Float64(),
    "longitude": pl.Float64(),
}

LEDGER: Schema = {
    "url": pl.String(),
    "label": pl.String(),
    "outcome": pl.String(),
    "reason": pl.String(),
    "http_status": pl.Int32(),
    "attempts": pl.Int32(),
    "bytes": pl.Int64(),  # of the image as it came
    "received": pl.Int64(),  # bytes of bodies that came over the network, in all attempts
    "seconds": pl.Float32(),  # the last request, from sending it to the last byte
    "etag": pl.String(),
    "last_modified": pl.String(),  # as the server wrote it
    "sha256": pl.String(),  # hexadecimal; also the image's name in the store
    "original_sha256": pl.String(),  # of the image as it came, where a shrunk one is stored; else null
    "format": pl.String(),  # Pillow's name: JPEG, PNG, …
    "width": pl.Int32(),  # pixels of the stored image, EXIF orientation applied
    "height": pl.Int32(),
    "contrast": pl.Float32(),  # standard deviation of the gray pixels, 0-127.5; near 0 = flat
    "phash": pl.UInt64(),  # 64-bit DCT hash of the image as it came, most significant bit first
    "verify_hash": pl.Binary(),  # 32 bytes: the 256-bit DCT hash of the same pixels
    "fetched_at": pl.Datetime("us", "UTC"),
    "versions": pl.String(),  # libraries that decoded and hashed, e.g. "pillow=13.0.0 simplejpeg=1.9.0"
}

VERDICTS: Schema = {
    "sha256": pl.String(),
    "url": pl.String(),
    "label": pl.String(),
    "offered_label": pl.String(),  # what the source says, whatever a person made of it
    "verdict": pl.String(),  # one of VERDICT_SLUGS
    "detail": pl.String(),  # what the rule saw, the person's name, …; else null
    "cluster_id": pl.String(),  # SHA-256 of the image that stands for the cluster: each member is its near-duplicate
    "keeper": pl.String(),  # SHA-256 of the member kept instead, where there is one
    "group_id": pl.String(),
    "component": pl.String(),  # smallest SHA-256 of all rows linked by near-duplicates or an observation, kept or not
    "published_component": pl.String(),  # the same of images of earlier versions, by near-duplicates among themselves
    "source": pl.String(),
    "taxon": pl.String(),
    "observed_on": pl.Date(),
    "latitude": pl.Float64(),
    "longitude": pl.Float64(),
    "licence": pl.String(),
    "creator": pl.String(),
    "page_url": pl.String(),
    "format": pl.String(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "bytes": pl.Int64(),
}

KEPT = "kept"
DUPLICATE_BYTES = "duplicate-bytes"
NEAR_DUPLICATE = "near-duplicate"
LABEL_CONFLICT = "label-conflict"
GONE = "gone"
REJECTED = "rejected"

# Why an image is not in the data set; `kept` says that it is. Only rows of a data set's candidates have one.
VERDICT_SLUGS = (
    KEPT,
    REJECTED,  # by a person
    "placeholder",  # the same file under many addresses or in many classes
    "too-small",
    "extreme-aspect",
    "gray",
    "blank",
    DUPLICATE_BYTES,
    NEAR_DUPLICATE,
    LABEL_CONFLICT,
    "over-cap",
    GONE,  # was in a version, no source offers it any more: it still ties its near-duplicates to its split
)

DECISIONS: Schema = {
    "sha256": pl.String(),
    "verdict": pl.String(),  # keep | reject | relabel
    "label": pl.String(),  # the class a relabelled image belongs to, or a kept one where several offer it; else null
    "by": pl.String(),
    "at": pl.Datetime("us", "UTC"),
}

# Which side an image was put on, and all that ties others to it: collections/<recipe>/splits/<version>.parquet. A row
# for each address, so that an image is known, and known for what it was, after its sources have forgotten it.
SPLITS: Schema = {
    "sha256": pl.String(),
    "label": pl.String(),
    "split": pl.String(),
    "fold": pl.Int8(),
    "line": pl.String(),  # see `tasks.split.sides.line_of`
    "credited": pl.Boolean(),  # the manifest names this address
    **{name: VERDICTS[name] for name in ("url", "group_id", "creator", "page_url", "source", "taxon", "observed_on")},
    **{name: VERDICTS[name] for name in ("latitude", "longitude", "format", "width", "height", "bytes")},
    **{name: LEDGER[name] for name in ("contrast", "phash", "verify_hash")},
}

MANIFEST: Schema = {
    "sha256": pl.String(),
    "label": pl.String(),
    "split": pl.String(),  # train | val | test
    "fold": pl.Int8(),  # of a cross-validation, 0 to folds - 1; null for test images and without one
    "cluster_id": pl.String(),
    "group_id": pl.String(),
    "component": pl.String(),  # never crosses splits or folds; holds whole clusters, observations, `group_by` groups
    "url": pl.String(),
    "licence": pl.String(),
    "creator": pl.String(),
    "page_url": pl.String(),
    "format": pl.String(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "path": pl.String(),  # relative to the data set's folder: train/<class>/<sha256>.<ext>
}

PREDICTIONS: Schema = {
    "sha256": pl.String(),
    "split": pl.String(),
    "label": pl.String(),
    "predicted": pl.String(),
    "confidence": pl.Float32(),  # probability of the predicted class
    "probabilities": pl.List(pl.Float32()),  # one per class, in the sorted order of the class names
}

LOCAL_SOURCES = ("folder", "archive")  # the only ones whose addresses may be files of this machine

# From the widest to the narrowest; one that is not here is narrower still.
LICENCES = (
    "public-domain",
    "cc0",
    "cc-by",
    "cc-by-sa",
    "cc-by-nd",
    "cc-by-nc",
    "cc-by-nc-sa",
    "cc-by-nc-nd",
    "all-rights-reserved",
)

# What can become of an address, in the words shown to people. `True`: asking again later may help.
OUTCOMES: dict[str, bool] = {
    KEPT: False,
    "not-found": False,  # 404, 410
    "forbidden": False,  # 401, 403, 451
    "client-error": False,  # any other 4xx
    "rate-limited": True,  # 429 to the last attempt
    "server-error": True,  # 5xx to the last attempt
    "timeout": True,  # no answer, or a body that drips, to the last attempt
    "unreachable": True,  # name not resolved, connection refused or reset, TLS refused
    "incomplete": True,  # the body ended before its Content-Length
    "opted-out": False,  # robots.txt or an X-Robots-Tag header says no
    "blocked-address": False,  # private, loopback or link-local address at connect time
    "too-many-redirects": False,
    "invalid-address": False,  # not an absolute http(s) address
    "too-large": False,  # more bytes or pixels than the recipe allows
    "too-small": False,  # a side shorter than the recipe allows
    "flat": False,  # one colour, or next to it: less contrast than the recipe allows
    "empty": False,
    "html": False,
    "not-an-image": False,
    "damaged": False,  # decodes, with errors
    "unreadable": False,  # does not decode
    "licence-refused": False,  # never fetched
}
TRANSIENT = tuple(slug for slug, again in OUTCOMES.items() if again)


def conform(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return `frame` with exactly the columns of `schema`, in order; missing ones are null."""
    columns = [
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    ]
    return frame.select(columns) if frame.width else pl.DataFrame(schema=schema)


def write_table(frame: pl.DataFrame, path: Path) -> Path:
    """Write `frame` to `path` as Parquet: temporary file, then rename."""
    # Through memory: Polars tells a full disk as an error of its own, in words that change.
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return write_atomic(path, lambda stream: stream.write(buffer.getvalue()))


def read_shards(folder: Path, schema: Schema) -> pl.DataFrame:
    """Read all shards of a growing table; a folder that is not there yet is an empty table."""
    return read_tables(sorted(folder.glob("*.parquet")), schema)


def read_tables(paths: Iterable[Path], schema: Schema) -> pl.DataFrame:
    """Read Parquet files of one schema, one below the other."""
    frames = [conform(pl.read_parquet(path), schema) for path in paths]
    return pl.concat(frames) if frames else pl.DataFrame(schema=schema)


def candidates_shard(collection: Path, *asked: object) -> Path:
    """Return where the answer of one source lies; `asked` is all that the answer depends on: class, source, …."""
    return collection / "candidates" / f"{fingerprint(*asked)}.parquet"


def keep_sources(collection: Path, shards: Iterable[Path]) -> None:
    """Forget the answers of sources that have left the recipe; their images stay in the store."""
    kept = {shard.stem for shard in shards}
    for path in (collection / "candidates").glob("*"):
        if path.name.partition(".")[0] not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def narrowness() -> pl.Expr:
    """Return how narrow the `licence` is, 0 the widest; null where none is stated."""
    place = pl.col("licence").str.to_lowercase().replace_strict(LICENCES, range(len(LICENCES)), default=len(LICENCES))
    return pl.when(pl.col("licence").is_not_null()).then(place)


def read_candidates(collection: Path) -> pl.DataFrame:
    """Return every photo that a source offers, one row per photo and label, in a fixed order.

    A photo that came by several roads (see `tasks.core.identity`) is one row: its address is the one already in the
    store, else one that has not failed yet; what one road does not tell another does; of several licences the
    narrowest counts, with its creator; `origins` names all roads.
    """
    frame = read_shards(collection / "candidates", CANDIDATES)
    known = read_ledger(collection, "url", "outcome").select(
        "url",
        pl.when(pl.col("outcome") == KEPT).then(0).when(pl.col("outcome").is_in(TRANSIENT)).then(2).otherwise(3)
        .alias("_rank"),
    )  # fmt: skip
    ranked = (
        frame.with_columns(photo_identity(pl.col("url")).alias("photo"))
        .join(known, on="url", how="left")
        .with_columns(pl.col("_rank").fill_null(1), narrowness().alias("_narrow"))
        .sort("_rank", "group_id", *CANDIDATES, nulls_last=True)
        .with_columns(pl.col("url").first().over("photo"))
    )
    origin = pl.concat_str("source", pl.col("source_id").fill_null(""), separator=":").str.strip_suffix(":")
    narrowest = pl.col("_narrow") == pl.col("_narrow").max()
    maker = pl.col("creator").filter(narrowest).drop_nulls().first()
    told = {name: pl.col(name).drop_nulls().first() for name in CANDIDATES if name not in {"url", "label"}}
    told["licence"] = pl.col("licence").filter(narrowest).first()
    told["creator"] = pl.coalesce(maker, told["creator"])
    return (
        ranked.group_by("photo", "label", maintain_order=True)
        .agg(pl.col("url").first(), *told.values(), origin.unique().sort().str.join(" ").alias("origins"))
        .select(*CANDIDATES, "photo", "origins")
        .sort("url", "label")
    )


def read_ledger(collection: Path, *columns: str) -> pl.DataFrame:
    """Return the latest row of each address, in the order of the addresses; of `columns` only, where some are named.

    Of rows of one moment the last by outcome counts, then by the name of the shard.
    """
    wanted = (
        [name for name in LEDGER if name in {"url", "outcome", "fetched_at", *columns}] if columns else list(LEDGER)
    )
    frame = pl.DataFrame(schema={name: LEDGER[name] for name in wanted})
    if shards := sorted((collection / "ledger").glob("*.parquet")):
        # Scanned at once: 500,000 rows in 2,000 shards took 1.7 s shard by shard, eight of their columns take 0.2 s.
        found = pl.scan_parquet(shards, schema=LEDGER, missing_columns="insert", extra_columns="ignore")
        frame = found.select(wanted).collect()
    latest = frame.sort("url", "fetched_at", "outcome", maintain_order=True).unique(
        "url", keep="last", maintain_order=True
    )
    return latest.select(columns) if columns else latest
