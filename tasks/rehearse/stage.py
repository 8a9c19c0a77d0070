"""Sets a rehearsal up: photos, a photo site stocked with them, and the recipe that visits it; starts the site.

Reads a recipe and a folder of photos. Writes everything below one folder; a second call with the same
arguments finds its plan, its port and its request log as they were.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import yaml

import tasks
from tasks.core.config import StageConfig
from tasks.core.errors import RecipeError, SourceError, SourceUnavailableError
from tasks.core.files import locked, publishing, storing, write_json, write_text
from tasks.core.fingerprint import fingerprint
from tasks.rehearse.files import files_of, table_of
from tasks.rehearse.paint import OBSERVATIONS, paint
from tasks.rehearse.pictures import folders_of
from tasks.rehearse.plan import LOG, PLAN, PORT, Plan, load, load_port, save
from tasks.rehearse.site import HOST
from tasks.rehearse.sources import Slot, door_of, slots_of
from tasks.rehearse.stock import stock

SIDE = 192  # pixels: typical longer side of painted photos
APIS = {
    "inaturalist": "/v1",
    "inaturalist_photos": "/photos",
    "gbif": "/gbif/v1",
    "custom_search": "/customsearch/v1",
    "serpapi": "/serpapi/search.json",
    "serper": "/serper/images",
    "openverse": "/openverse/v1",
    "wikimedia_commons": "/w/api.php",
}
_FORMAT = 3  # raise it when the same arguments are to give another plan
_SUFFIX = "-rehearsal"
_LONGEST_NAME = 80  # characters a recipe's name may have
_PORTS = range(20_000, 32_000)  # below the range Linux hands to outgoing connections, so that a kept port stays free
_RATE = 1000  # requests a second: the site is this machine's own, and a rehearsal is there to be quick
_START = 30.0  # seconds the site may take to answer


class Rehearsal(StageConfig):
    """A photo site ready to be served, and what a run against it needs to know."""

    recipe: Path
    """The derived recipe."""
    site: Path
    """The site's folder; holds the request log `requests.jsonl`."""
    base_url: str
    """Scheme, host and port of the site."""
    allowed_hosts: tuple[str, ...]
    """For the settings: the one loopback address that may be visited."""
    apis: dict[str, str]
    """For the settings: base addresses of the APIs that the site speaks."""
    expected: dict[str, int]
    """Addresses by the outcome the ledger must end with."""
    verdicts: dict[str, int]
    """Planted duplicates and conflicts by the verdict curation must give; the photos may bring more of their own."""


def rehearse(
    recipe: Path, folder: Path, *, photos: Path | None, observations: str | None, per_class: int, seed: int
) -> Rehearsal:
    """Stock a photo site in `folder` for the recipe file `recipe`.

    Args:
        recipe: The recipe to rehearse.
        folder: Where the site, the painted photos and the derived recipe go.
        photos: Folder with one sub-folder of photos a class; None paints them.
        observations: Regular expression whose first group names a photo's observation in its file name.
        per_class: Photos painted of each class.
        seed: Decides what is painted and what goes where.

    Raises:
        RecipeError: the recipe cannot be read, or has a source that a photo site cannot play.
        DataError: photos of a class are missing, or the pattern is none.
        BusyError: another rehearsal is being set up in this folder.
        WorkspaceError: the folder cannot be written.
    """
    raw, folder = _raw(recipe), folder.resolve()
    labels = list(dict.fromkeys(slot.label for slot in slots_of(raw)))
    with locked(folder / ".lock", f"the rehearsal in {folder}"):
        if photos is None:
            photos = _painted(folder, labels, per_class=per_class, seed=seed)
            observations = OBSERVATIONS
        port = _port(folder, f"{raw.get('name')} {seed}")
        base_url = f"http://{HOST}:{port}"
        plan = _planned(raw, folder, photos=photos.resolve(), observations=observations, base_url=base_url, seed=seed)
        _write_recipe(raw, recipe, folder, slots=slots_of(raw, folders_of(photos)))
    return Rehearsal(
        recipe=folder / "recipe.yaml",
        site=folder,
        base_url=base_url,
        allowed_hosts=(f"{HOST}:{port}",),
        apis={name: base_url + path for name, path in APIS.items()},
        expected=plan.outcomes(),
        verdicts=plan.verdicts(),
    )


@contextmanager
def serving(rehearsal: Rehearsal) -> Iterator[None]:
    """Run the photo site for the block, in a process that ends with this one however this one ends.

    Raises:
        SourceError: the site's port is taken.
        SourceUnavailableError: the site does not answer in time.
    """
    root = str(Path(tasks.__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    with storing(rehearsal.site / "site.log"):
        errors = (rehearsal.site / "site.log").open("w+", encoding="utf-8")
    with errors:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tasks.rehearse.site", str(rehearsal.site), "--with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=environment,
        )
        try:
            _wait(rehearsal, process)
            yield
        finally:
            _stop(process)


def _raw(recipe: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"The recipe {recipe} cannot be read.", received=str(error)) from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{recipe} is not a recipe.", received=f"a {type(raw).__name__} at the top")
    return raw


def _painted(folder: Path, labels: list[str], *, per_class: int, seed: int) -> Path:
    photos = folder / "painted" / fingerprint(_FORMAT, labels, per_class, seed, SIDE)
    if not photos.is_dir():
        with publishing(photos) as part:
            paint(part, labels, per_class=per_class, seed=seed, side=SIDE)
    return photos


def _port(folder: Path, name: str) -> int:
    """Return the port kept for the site, choosing one the first time.

    The first choice follows from the recipe's name and the seed, so that two rehearsals of one recipe give the
    same addresses, and with them the same data set version.
    """
    kept = load_port(folder)
    if kept is not None:
        return kept
    start = zlib.crc32(name.encode()) % len(_PORTS)
    for port in itertools.chain(_PORTS[start:], _PORTS[:start]):
        if _free(port):
            write_json(folder / PORT, {"port": port})
            return port
    raise SourceError(f"No port between {_PORTS.start} and {_PORTS.stop} is free for the photo site.")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the site will: closed connections do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _planned(
    raw: dict[str, Any], folder: Path, *, photos: Path, observations: str | None, base_url: str, seed: int
) -> Plan:
    """Return the plan, made anew only where something it was made from has changed."""
    slots = [(slot.name, slot.label, slot.raw, slot.options) for slot in slots_of(raw, folders_of(photos))]
    files = sorted((path.relative_to(photos).as_posix(), path.stat().st_size) for path in _files(photos))
    key = fingerprint(_FORMAT, slots, raw.get("labels"), door_of(raw), observations, base_url, seed, files)
    with suppress(SourceError):
        plan = load(folder)
        if plan.key == key and all((folder / address.file).is_file() for address in plan.addresses):
            return plan
    with storing(folder):
        for name in (PLAN, LOG):  # the plan first: what is left after a kill -9 here is made anew
            (folder / name).unlink(missing_ok=True)
        for name in ("derived", "urls", "files"):
            shutil.rmtree(folder / name, ignore_errors=True)
    plan = stock(raw, folder, photos=photos, observations=observations, base_url=base_url, seed=seed, key=key)
    save(plan, folder)
    return plan


def _files(photos: Path) -> list[Path]:
    return [path for path in photos.rglob("*") if path.is_file()] if photos.is_dir() else []


def _write_recipe(raw: dict[str, Any], recipe: Path, folder: Path, *, slots: list[Slot]) -> None:
    """Write the recipe that visits the site: other name, other files, no hurry spared; the rest as it was."""
    named = {slot.name: slot for slot in slots}
    derived = raw | {"name": f"{str(raw.get('name'))[: _LONGEST_NAME - len(_SUFFIX)]}{_SUFFIX}"}
    derived["ingest"] = {"rate": _RATE} | (raw.get("ingest") or {})
    if "classes" in raw:
        derived["classes"] = {
            label: [_pointed(options, named[f"{label}-{number}"]) for number, options in enumerate(sources)]
            for label, sources in (raw["classes"] or {}).items()
        }
    if "sources" in raw:
        derived["sources"] = [
            _pointed(options, named[f"sources_{number}"]) for number, options in enumerate(raw["sources"] or [])
        ]
    model = raw.get("model")
    if isinstance(model, dict) and model.get("weights", "imagenet") not in {"imagenet", "none"}:
        weights = str(recipe.resolve().parent / model["weights"])
        derived["model"] = model | {"weights": weights}
    text = yaml.safe_dump(derived, sort_keys=False, allow_unicode=True, width=120)
    write_text(folder / "recipe.yaml", f"# {recipe.name}, pointed at the photo site of this folder.\n{text}")


def _pointed(options: dict[str, Any], slot: Slot) -> dict[str, Any]:
    """Return a source's block with the files of the site in the place of its own."""
    files, member = files_of(slot) if "path" in options else [], table_of(slot)
    path = {"path": files if isinstance(options["path"], list) else files[0]} if files else {}
    return options | path | ({"table": member} if member else {})


def _wait(rehearsal: Rehearsal, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SourceError("The photo site did not start.", received=_last_words(rehearsal))
        if _answers(rehearsal, process.pid):
            return
        time.sleep(0.05)
    raise SourceUnavailableError(
        f"The photo site did not answer within {_START:g} seconds.", received=_last_words(rehearsal)
    )


def _answers(rehearsal: Rehearsal, pid: int) -> bool:
    """Whether the site at the address is the process we started: another program may hold the port."""
    connection = HTTPConnection(rehearsal.allowed_hosts[0], timeout=1)
    try:
        connection.request("GET", "/healthz")
        return bool(json.loads(connection.getresponse().read())["pid"] == pid)
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()


def _last_words(rehearsal: Rehearsal) -> str:
    return (rehearsal.site / "site.log").read_text(encoding="utf-8").strip()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()
