"""Every source asked over HTTP: a photo site that speaks all of their languages, and what must come of it."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl
import pytest
import yaml
from pydantic import SecretStr

from flows.recipe import Recipe, load_recipe
from tasks.core.errors import SourceError
from tasks.core.files import write_json
from tasks.core.network import NetworkPolicy
from tasks.core.tables import KEPT, candidates_shard, read_ledger
from tasks.core.workspace import Workspace
from tasks.discover.config import AnySource, LabelsConfig
from tasks.discover.found import Ask
from tasks.discover.gather import Gathered, gather
from tasks.discover.licences import accepted
from tasks.discover.sources import SOURCES
from tasks.ingest.batch import run_batch
from tasks.ingest.plan import plan as plan_batches
from tasks.rehearse.paint import OBSERVATIONS, paint
from tasks.rehearse.plan import LOG, PORT, Address, Plan, load
from tasks.rehearse.sources import LOCAL, Slot, slots_of
from tasks.rehearse.stage import Rehearsal, rehearse, serving

NOW = datetime(2026, 5, 1, tzinfo=UTC)
RECIPE = """
name: everything
classes:
  moths:
    - {source: inaturalist, taxon: [Attacus atlas, 47208], place: Portugal, photos: all, licences: [cc0, cc-by],
       bbox: [38, -9, 40, -7], observed: [2019-01-01, 2020-12-31]}
    - {source: gbif, taxon: Attacus atlas, country: [PT], basis_of_record: [HUMAN_OBSERVATION], photos: all,
       bbox: [38, -9, 40, -7], observed: [2019-01-01, null], licences: [cc0, cc-by, cc-by-nc]}
    - {source: google, provider: custom_search, query: [Atlas moth, Attacus atlas]}
    - {source: google, provider: serpapi, query: Atlas moth}
    - {source: google, query: Atlas moth, min_side: 180}
    - {source: openverse, query: [Atlas moth, Attacus], licences: [cc-by, cc0]}
    - {source: wikimedia_commons, query: Atlas moth, category: Attacus atlas, width: 250, licences: [cc-by-sa, cc0]}
  beetles:
    - {source: url_list, path: [one.txt, two.txt]}
    - {source: url_list, path: beetles.csv, columns: {url: address}, where: {sharp: "yes"}}
    - {source: url_list, path: beetles.parquet}
    - {source: inaturalist_export, path: beetles.zip, where: {place_county_name: Beira}, licences: [cc-by],
       quality_grade: [research]}
    - {source: inaturalist_open_data, path: dump, taxon: Lucanus cervus, photos: all}
    - {source: darwin_core, path: beetles.zip, taxon: Lucanus cervus, photos: all}
    - {source: folder, path: pictures, licence: cc0}
    - {source: archive, path: beetles.tar.gz}
sources:
  - {source: folder, path: pictures, label: {pattern: "^([A-Za-z]+)_"}}
  - {source: archive, path: all.zip, table: meta.csv, image: "imgs/{object_id}.png", label: family}
  - {source: inaturalist_export, path: [a.csv, b.csv], label: taxon_family_name}
  - {source: inaturalist_export, path: a.csv, label: {taxa: {Araneidae: [Araneus], Lycosidae: [Pardosa amentata]}}}
  - {source: inaturalist_open_data, path: dump, taxon: Araneae, label: family}
  - {source: gbif, taxon: Araneae, label: family}
  - {source: darwin_core, path: spiders, taxon: Araneae, label: family}
  - {source: url_list, path: spiders.tsv, label: {column: name, pattern: "^([A-Z][a-z]+)"}}
ingest: {timeout: 1, attempts: 2, max_wait: 1}
labels:
  merge: {weavers: [Araneidae, Tetragnathidae], wanderers: [Lycosidae]}
  drop: [Unknown]
"""
KEYS = {name: SecretStr("a key") for name in ("google-key", "google-cx", "serpapi-key", "serper-key")}
TELLING = ("inaturalist", "inaturalist_export", "inaturalist_open_data", "gbif", "darwin_core", "openverse",
           "wikimedia_commons")  # fmt: skip


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    folder = tmp_path_factory.mktemp("everything")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        write_json(folder / "site" / PORT, {"port": probe.getsockname()[1]})
    (folder / "everything.yaml").write_text(RECIPE, encoding="utf-8")
    # Larger than a rehearsal paints by itself: Commons scales some of them down.
    paint(folder / "photos", ["moths", "beetles", "weavers", "wanderers"], per_class=80, seed=4, side=300)
    found = rehearse(
        folder / "everything.yaml", folder / "site", photos=folder / "photos", observations=OBSERVATIONS,
        per_class=0, seed=4,
    )  # fmt: skip
    with serving(found):
        yield found


@pytest.fixture(scope="module")
def plan(rehearsal: Rehearsal) -> Plan:
    return load(rehearsal.site)


@pytest.fixture(scope="module")
def recipe(rehearsal: Rehearsal) -> Recipe:
    return load_recipe(rehearsal.recipe)


LABELS = LabelsConfig.model_validate(yaml.safe_load(RECIPE)["labels"])


def question(
    rehearsal: Rehearsal, source: AnySource, label: str | None, *, keys: dict[str, SecretStr] = KEYS
) -> Ask[AnySource]:
    network = NetworkPolicy(user_agent="harvestman-test", allowed_hosts=rehearsal.allowed_hosts, apis=rehearsal.apis)
    return Ask(source, label, network, LABELS, keys)


def asked(ask: Ask[AnySource], shard: Path) -> tuple[pl.DataFrame, Gathered]:
    gathered = gather(ask, SOURCES[ask.source.source], shard, now=NOW)
    return pl.read_parquet(shard), gathered


def place_of(address: str) -> str:
    """Where an address leads: below the site, or below the folder of its files."""
    if not address.startswith("file:"):
        return address
    path, _, member = address.partition("#")
    return f"{unquote(urlsplit(path).path)}/{unquote(member)}".rstrip("/")


def offered(rehearsal: Rehearsal, address: Address, slot: Slot) -> str:
    if slot.source not in LOCAL:
        return rehearsal.base_url + address.path
    whole = (rehearsal.site / address.path).as_posix()
    if slot.source == "folder":
        return whole
    packed = next(rehearsal.site.glob(f"files/{slot.name}.*"))
    return whole.replace(f"files/{slot.name}/", f"files/{packed.name}/", 1)


SLOTS = slots_of(yaml.safe_load(RECIPE))
NAMES = list(dict.fromkeys(slot.name for slot in SLOTS))


@pytest.mark.parametrize("name", NAMES, ids=[f"{n}-{next(s.source for s in SLOTS if s.name == n)}" for n in NAMES])
def test_a_source_yields_what_the_site_offers_it(
    rehearsal: Rehearsal, plan: Plan, recipe: Recipe, *, name: str, tmp_path: Path
) -> None:
    label, source = recipe.asked[NAMES.index(name)]
    rows, gathered = asked(question(rehearsal, source, label), tmp_path / "shard.parquet")
    mine = {(slot.label, slot.number): slot for slot in SLOTS if slot.name == name}
    planned = [(item, mine[item.label, item.source]) for item in plan.addresses if (item.label, item.source) in mine]
    expected = {(offered(rehearsal, item, slot), item.label) for item, slot in planned if item.expected}
    assert len(expected) >= 3
    assert {(place_of(url), label) for url, label in rows.select("url", "label").iter_rows()} == expected
    assert gathered.notes.get("label-dropped", 0) == sum(item.kind == "unwanted" for item, _ in planned)
    assert rows["url"].is_unique().all()
    assert set(rows["source"]) == {source.source}
    assert gathered.notes["candidates"] == rows.height
    if source.source in TELLING:
        allowed = accepted(getattr(source, "licences", "any"))
        assert rows["licence"].null_count() == 0
        assert allowed is None or set(rows["licence"]) <= allowed


def test_the_recipe_of_this_test_has_every_source() -> None:
    assert {slot.source for slot in SLOTS} == set(SOURCES)
    several = {slot.source for slot in SLOTS if slot.shared is not None}
    assert several == {"folder", "archive", "inaturalist_export", "inaturalist_open_data", "gbif", "darwin_core",
                       "url_list"}  # fmt: skip


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (("moths", 1), "licence-refused"),
        (("moths", 2), "thumbnails"),
        (("moths", 4), "too-small-stated"),
        (("moths", 6), "licence-refused"),
        (("beetles", 0), "duplicates"),
        (("beetles", 1), "other-value"),
        (("beetles", 3), "other-value"),
        (("beetles", 5), "duplicates"),
        ((None, 1), "without-label"),
        ((None, 6), "without-label"),
    ],
)
def test_what_a_source_leaves_out_is_counted(
    rehearsal: Rehearsal, recipe: Recipe, *, where: tuple[str | None, int], reason: str, tmp_path: Path
) -> None:
    label, place = where
    source = recipe.sources[place] if label is None else recipe.classes[label][place]
    _, gathered = asked(question(rehearsal, source, label), tmp_path / "shard.parquet")
    assert gathered.notes.get(reason, 0) > 0, gathered.notes


def test_observations_of_one_photo_site_keep_their_names(
    rehearsal: Rehearsal, plan: Plan, recipe: Recipe, tmp_path: Path
) -> None:
    theirs = Counter[bool]()
    by_photo = {str(photo.id): item for item in plan.observations for photo in item.photos}
    for place in (0, 1):
        source = recipe.classes["moths"][place]
        rows, _ = asked(question(rehearsal, source, "moths"), tmp_path / f"{place}.parquet")
        for url, group, day, creator in rows.select("url", "group_id", "observed_on", "creator").iter_rows():
            seen = by_photo[urlsplit(url).path.split("/")[2]]
            known = place == 0 or seen.id % 2 == 0
            assert group == f"{'inaturalist' if known else 'gbif'}:{seen.id}"
            assert (str(day), creator) == (seen.observed_on, seen.user)
            theirs[known and place == 1] += 1
    assert min(theirs.values()) > 0


@pytest.mark.parametrize("place", [2, 3, 4])
def test_a_refused_key_is_said_and_never_shown(
    rehearsal: Rehearsal, recipe: Recipe, *, place: int, tmp_path: Path
) -> None:
    source = recipe.classes["moths"][place]
    wrong = dict.fromkeys(KEYS, SecretStr("wrong"))
    with pytest.raises(SourceError) as error:
        asked(question(rehearsal, source, "moths", keys=wrong), tmp_path / "shard.parquet")
    assert "HTTP 40" in str(error.value)
    assert "wrong" not in str(error.value)
    log = (rehearsal.site / LOG).read_text(encoding="utf-8")
    assert "=wrong" not in log
    assert "a+key" not in log
    assert "a%20key" not in log


class Killed(BaseException):
    """Ends a call where a signal would."""


@pytest.mark.parametrize("place", [2, 5])
def test_a_call_that_was_ended_while_paging_goes_on_where_it_stopped(
    rehearsal: Rehearsal, recipe: Recipe, *, place: int, tmp_path: Path
) -> None:
    source = recipe.classes["moths"][place]
    ask = question(rehearsal, source, "moths")

    def stop(found: int, expected: int | None) -> None:
        del found, expected
        raise Killed

    began = requests(rehearsal)
    whole, _ = asked(ask, tmp_path / "whole.parquet")
    middle = requests(rehearsal)
    shard = tmp_path / "shard.parquet"
    with pytest.raises(Killed):
        gather(ask, SOURCES[source.source], shard, now=NOW, on_page=stop)
    rows, _ = asked(ask, shard)
    assert rows.equals(whole)
    assert requests(rehearsal)[len(middle) :] == middle[len(began) :]
    assert len(middle) - len(began) >= 2


def requests(rehearsal: Rehearsal) -> list[str]:
    lines = (rehearsal.site / LOG).read_text(encoding="utf-8").splitlines()
    return [f"{line['path']}?{line['query']}" for line in map(json.loads, lines)]


def test_what_all_sources_offer_ends_in_the_ledger_as_foretold(
    rehearsal: Rehearsal, plan: Plan, recipe: Recipe, workspace: Workspace
) -> None:
    collection = workspace.collection(recipe.name)
    for label, source in recipe.asked:
        ask = question(rehearsal, source, label)
        gather(ask, SOURCES[source.source], candidates_shard(collection, label or "", source), now=NOW)
    for batch in plan_batches(collection, recipe.ingest, now=NOW).batches:
        run_batch(batch, workspace=workspace, config=recipe.ingest, network=ask.network)
    ledger = read_ledger(collection).select("url", "outcome")
    outcomes = {place_of(url): outcome for url, outcome in ledger.iter_rows()}
    slots = {(slot.label, slot.number): slot for slot in SLOTS}
    foretold = {
        offered(rehearsal, item, slots[item.label, item.source]): item.expected
        for item in plan.addresses
        if item.expected is not None
    }
    assert outcomes == foretold
    assert any("/commons/thumb/" in url and outcome == KEPT for url, outcome in outcomes.items())
    assert rehearsal.expected == dict(Counter(foretold.values()))


@pytest.mark.parametrize(("place", "word"), [(0, "updated_since="), (1, "lastInterpreted=")])
def test_the_next_run_asks_for_changes_and_keeps_what_has_not_changed(
    rehearsal: Rehearsal, recipe: Recipe, *, place: int, word: str, tmp_path: Path
) -> None:
    ask = question(rehearsal, recipe.classes["moths"][place], "moths")
    first, _ = asked(ask, tmp_path / "shard.parquet")
    before = len(requests(rehearsal))
    again = gather(ask, SOURCES[ask.source.source], tmp_path / "shard.parquet", now=NOW + timedelta(days=2))
    assert again.asked
    assert pl.read_parquet(tmp_path / "shard.parquet").equals(first)
    searches = [line for line in requests(rehearsal)[before:] if "observations" in line or "occurrence" in line]
    assert searches
    assert all(word in line for line in searches)
