"""`harvestman audit` as a person and a script meet it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from flows import audit, audit_report
from flows.audit import RADIUS, VERIFY_RADIUS, Audited, as_text, examine
from tasks.core.errors import StopError
from tasks.curate.config import NearDuplicates

Keys = dict[str, Any]


def picture(seed: int, image_format: str = "JPEG", *, side: int = 160, **options: object) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(buffer, image_format, **options)
    return buffer.getvalue()


TREE = {
    "train/ant/1.jpg": picture(1),
    "train/ant/2.jpg": picture(2),
    "train/ant/tiny.png": picture(9, "PNG", side=20),
    "train/bee/2 again.jpg": picture(2),
    "train/bee/half.jpg": picture(3, side=900)[:20_000],
    "train/bee/page.jpg": b"<!doctype html><p>gone",
    "train/bee/empty.png": b"",
    "train/bee/4.jpg": picture(4, "PNG"),
    "train/bee/5": picture(5),
    "test/ant/1 smaller.jpg": picture(1, quality=60),
    "test/ant/7.jpg": picture(7),
    "train/classes.csv": b"ant,bee",
    "train/ant/note.txt": b"BMPs are large",
    "train/ant/Thumbs.db": b"\xd0\xcf\x11\xe0",
    "train/.hidden.jpg": picture(1),
    ".git/1.jpg": picture(1),
}


def build(folder: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return build(tmp_path / "pictures", TREE)


def command(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "audit", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def audited(folder: Path, invariance: str = "none") -> Audited:
    return examine(folder, radius=RADIUS, verify_radius=VERIFY_RADIUS, invariance=invariance)


def keys(folder: Path) -> Keys:
    answer: Keys = json.loads("".join(as_text(audited(folder))))
    return answer


def people(folder: Path) -> str:
    return "\n".join(line.plain for line in audit_report.lines(audited(folder)))


def test_json_holds_every_key_and_paths_relative_to_the_folder(tree: Path) -> None:
    text, errors = command(tree, "--json")
    found = json.loads(text)
    assert errors == ""
    assert list(found) == [
        "schema",
        "folder",
        "files",
        "unreadable",
        "damaged",
        "wrong_extension",
        "suspects",
        "identical_groups",
        "near_groups",
        "label_conflicts",
        "split_leaks",
        "other",
        "not_read",
    ]
    assert (found["schema"], found["folder"], found["not_read"]) == (1, str(tree), [])
    judged = sorted(name for name in TREE if "/." not in f"/{name}" and not name.endswith((".csv", ".txt", ".db")))
    assert [row["path"] for row in found["files"]] == judged
    assert [row["path"] for row in found["other"]] == [
        "train/ant/Thumbs.db",
        "train/ant/note.txt",
        "train/classes.csv",
    ]
    assert {row["path"]: row["reason"] for row in found["unreadable"]} == {
        "train/bee/empty.png": "empty",
        "train/bee/page.jpg": "html",
    }
    assert [row["path"] for row in found["damaged"]] == ["train/bee/half.jpg"]
    assert {row["path"]: row["expected"] for row in found["wrong_extension"]} == {
        "train/bee/4.jpg": "png",
        "train/bee/5": "jpg",
    }
    assert [row["files"] for row in found["identical_groups"]] == [["train/ant/2.jpg", "train/bee/2 again.jpg"]]
    assert [row["files"] for row in found["near_groups"]] == [["test/ant/1 smaller.jpg", "train/ant/1.jpg"]]
    assert found["label_conflicts"] == [
        {"kind": "identical", "classes": ["ant", "bee"], "files": ["train/ant/2.jpg", "train/bee/2 again.jpg"]}
    ]
    assert found["split_leaks"] == [
        {"kind": "near", "splits": ["test", "train"], "files": ["test/ant/1 smaller.jpg", "train/ant/1.jpg"]}
    ]


def test_the_same_folder_gives_the_same_bytes(tree: Path) -> None:
    assert len({"".join(as_text(audited(tree))) for _ in range(3)}) == 1


def test_rules_of_a_recipe_do_not_count(tree: Path) -> None:
    (tiny,) = [row for row in keys(tree)["files"] if row["path"] == "train/ant/tiny.png"]
    assert (tiny["verdict"], tiny["width"], tiny["class"], tiny["split"]) == ("ok", 20, "ant", "train")


def test_strict_is_1_when_anything_is_found_and_0_otherwise(tree: Path, tmp_path: Path) -> None:
    text, errors = command(tree, "--strict", code=1)
    assert (text.startswith(f"{tree}: 11 image files, 2 classes, 2 splits (test, train)"), errors) == (True, "")
    clean = build(tmp_path / "clean", {"a/1.jpg": picture(1), "b/2.jpg": picture(2)})
    text, errors = command(clean, "--strict")
    assert (text.splitlines()[-1], errors) == ("Nothing was found.", "")


@pytest.mark.parametrize("name", ["gone", "file.jpg"])
def test_a_folder_that_cannot_be_read_is_1_and_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.jpg").write_bytes(picture(1))
    with pytest.raises(StopError, match=rf"{name} cannot be read\.\n") as told:
        audited(tmp_path / name)
    assert told.value.received in {"No such file or directory", "Not a directory"}


def test_a_folder_without_an_image_is_1_and_told(tmp_path: Path) -> None:
    build(tmp_path, {"notes.txt": b"nothing", ".hidden.jpg": picture(1)})
    text, errors = command(tmp_path, "--json", code=1)
    assert text == ""
    assert errors.startswith(f"There is no image in {tmp_path}.\n1 other files\n")


def test_defaults_are_those_of_a_recipe() -> None:
    config = NearDuplicates()
    assert (audit.RADIUS, audit.VERIFY_RADIUS, config.invariance) == (config.radius, config.verify_radius, "none")


def test_a_radius_out_of_range_is_wrong_usage(tree: Path) -> None:
    _, errors = command(tree, "--radius", "17", code=2)
    assert "less than or equal to 16" in errors


def test_mirrored_copies_are_found_where_that_is_asked_for(tmp_path: Path) -> None:
    body = io.BytesIO()
    Image.open(io.BytesIO(picture(1))).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(body, "PNG")
    folder = build(tmp_path, {"1.jpg": picture(1), "2.png": body.getvalue()})
    assert audited(folder).findings.near_groups == []
    (group,) = audited(folder, "mirror").findings.near_groups
    assert group["files"] == ["1.jpg", "2.png"]


def test_a_flat_folder_has_neither_classes_nor_splits(tmp_path: Path) -> None:
    found = keys(build(tmp_path, {"1.jpg": picture(1), "2.jpg": picture(1)}))
    assert {(row["split"], row["class"]) for row in found["files"]} == {(None, None)}
    assert len(found["identical_groups"]) == 1
    assert people(tmp_path).startswith(f"{tmp_path}: 2 image files\n")


def test_links_to_files_and_folders_count_as_what_they_lead_to_but_never_in_a_circle(tmp_path: Path) -> None:
    build(tmp_path, {"train/a/1.jpg": picture(1), "store/b/2.jpg": picture(2), "train/b/3.jpg": picture(3)})
    (tmp_path / "test" / "a").mkdir(parents=True)
    (tmp_path / "test" / "a" / "copy.jpg").symlink_to(tmp_path / "train" / "a" / "1.jpg")
    (tmp_path / "test" / "b").symlink_to(tmp_path / "train" / "b")
    (tmp_path / "train" / "a" / "round").symlink_to(tmp_path / "train")
    (tmp_path / "train" / "a" / "up").symlink_to(tmp_path.parent)
    (tmp_path / "train" / "a" / "self.jpg").symlink_to(tmp_path / "train" / "a" / "self.jpg")
    (tmp_path / "train" / "a" / "lost.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "train" / "a" / "lost").symlink_to(tmp_path / "nowhere")
    found = keys(tmp_path)
    assert [leak["files"] for leak in found["split_leaks"]] == [
        ["test/a/copy.jpg", "train/a/1.jpg"],
        ["test/b/3.jpg", "train/b/3.jpg"],
    ]
    assert [row["path"] for row in found["not_read"]] == ["train/a/round", "train/a/up"]
    assert [(row["path"], row["reason"]) for row in found["unreadable"]] == [
        ("train/a/lost.png", "not-found"),
        ("train/a/self.jpg", "forbidden"),
    ]
    assert len(found["files"]) == 7


def test_links_in_linked_folders_are_told_and_not_followed(tmp_path: Path) -> None:
    build(tmp_path, {"pictures/a/1.jpg": picture(1), "far/2.jpg": picture(2), "away/3.jpg": picture(3)})
    (tmp_path / "pictures" / "b").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "c").symlink_to(tmp_path / "away")
    found = keys(tmp_path / "pictures")
    assert [row["path"] for row in found["files"]] == ["a/1.jpg", "b/2.jpg"]
    assert [row["path"] for row in found["not_read"]] == ["b/c"]
    assert audited(tmp_path / "pictures").found


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_told(tree: Path) -> None:
    (tree / "test").chmod(0)
    (tree / "train" / "ant" / "1.jpg").chmod(0)
    try:
        found = keys(tree)
        _, errors = command(tree / "test", code=1)
    finally:
        (tree / "test").chmod(0o700)
    assert errors.startswith(f"{tree / 'test'} cannot be read.\nPermission denied")
    assert found["not_read"] == [{"path": "test", "detail": "Permission denied"}]
    assert found["unreadable"][0] == {
        "path": "train/ant/1.jpg",
        "reason": "forbidden",
        "detail": "Permission denied",
        "format": None,
    }


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    build(tmp_path, {"1.jpg": picture(1)})
    os.mkfifo(tmp_path / "2.jpg")
    assert [row["path"] for row in keys(tmp_path)["files"]] == ["1.jpg"]


def test_names_that_are_no_text_survive_json_and_do_no_harm_on_a_terminal(tmp_path: Path) -> None:
    strange = b"\xff\x1b[31m\n.jpg"
    folder = build(tmp_path, {"a/1.jpg": picture(1), f"b/{os.fsdecode(strange)}": picture(1)})
    text = "".join(as_text(audited(folder)))
    assert text.isascii()
    (conflict,) = json.loads(text)["label_conflicts"]
    assert [os.fsencode(path) for path in conflict["files"]] == [b"a/1.jpg", b"b/" + strange]
    shown = people(folder)
    assert "    b/??[31m?.jpg" in shown.splitlines()
    assert "\x1b" not in shown


def test_people_see_counts_then_findings_then_what_to_do(tree: Path) -> None:
    lines = people(tree).splitlines()
    at = {line: number for number, line in enumerate(lines)}
    assert lines[0] == f"{tree}: 11 image files, 2 classes, 2 splits (test, train)"
    for title, figures in (("unreadable", "2"), ("wrong extension", "2"), ("split leaks", "1       2")):
        row = next(line for line in lines if line.startswith(f"{title} "))
        assert row.removeprefix(title).strip() == figures
    assert "  train/bee/page.jpg  (a page, not an image: '<!doctype html><p>gone')" in lines
    assert lines[at["split leaks"] + 1] == "  near, in test and train"
    assert lines[-1].startswith("To do: replace or delete what is unreadable or damaged; rename ")


def test_long_lists_are_cut_with_a_word_on_json(tmp_path: Path) -> None:
    pages = {f"a/{number:03}.jpg": b"<html>" for number in range(30)}
    copies = {f"b/{number:03}.jpg": picture(1) for number in range(30)}
    lines = people(build(tmp_path, pages | copies)).splitlines()
    assert f"  and {30 - audit_report.SHOWN} more: --json lists all" in lines
    assert f"    and {30 - audit_report.FILES} more" in lines
    assert len(lines) < 40


def test_show_prints_what_it_is_asked_to(tree: Path) -> None:
    console = Console(file=io.StringIO(), width=20)
    audit_report.show(audited(tree), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert [line.rstrip() for line in text.splitlines()] == [line.rstrip() for line in people(tree).splitlines()]


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys, flows.audit; "
        "print(*sorted({'numpy', 'polars', 'pydantic', 'PIL', 'scipy', 'numba', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_an_audit_loads_no_compiler_and_no_network(tree: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from flows.audit import examine; "
        "examine(Path(sys.argv[1]), radius=12, verify_radius=60, invariance='none'); "
        "print(*sorted({'numba', 'scipy', 'httpx', 'aiohttp', 'prefect', 'pydantic_settings'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, tree], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.real
def test_the_same_picture_under_several_queries_for_bees(real_data: Path) -> None:
    found = keys(real_data / "photos" / "bees-google")
    assert (len(found["files"]), len(found["other"])) == (415, 1)
    assert len(found["identical_groups"]) == 48
    assert sum(len(group["files"]) - 1 for group in found["identical_groups"]) == 50
    assert len(found["near_groups"]) == 6
    assert (found["unreadable"], found["damaged"], found["wrong_extension"], found["split_leaks"]) == ([], [], [], [])


@pytest.mark.real
def test_the_bear_that_is_black_and_grizzly(real_data: Path) -> None:
    found = keys(real_data / "photos" / "bears-google")
    assert len(found["identical_groups"]) == 3
    assert found["label_conflicts"] == [
        {
            "kind": "identical",
            "classes": ["black", "grizzly"],
            "files": ["black/00000169.jpg", "grizzly/00000122.jpg"],
        }
    ]


@pytest.mark.real
def test_frames_of_videos_that_leak_across_splits(real_data: Path) -> None:
    found = keys(real_data / "photos" / "bees-hornets")
    assert {row["split"] for row in found["files"]} == {"train", "valid", "test"}
    assert (len(found["near_groups"]), len(found["split_leaks"])) == (34, 24)
    assert {leak["kind"] for leak in found["split_leaks"]} == {"near"}
    assert Counter(" ".join(conflict["classes"]) for conflict in found["label_conflicts"]) == {
        "hornets none": 2,
        "hornets mixed": 1,
    }


@pytest.mark.real
def test_the_placeholder_among_the_ants(real_data: Path) -> None:
    found = keys(real_data / "photos" / "ants-bees")
    assert len(found["files"]) == 398
    assert [(row["path"], row["reason"]) for row in found["suspects"]] == [
        ("train/ants/imageNotFound.gif", "stray-gif")
    ]
    others = (
        "unreadable",
        "damaged",
        "wrong_extension",
        "identical_groups",
        "near_groups",
        "label_conflicts",
        "split_leaks",
    )
    assert not any(found[key] for key in others)


@pytest.mark.real
def test_broken_and_odd_files_are_told_apart_as_a_full_decode_tells_them(real_data: Path) -> None:
    folder = real_data / "corrupt"
    with (folder / "labels_A.csv").open(encoding="utf-8") as stream:
        loads = {row["file"]: row["pillow_load"] == "ok" for row in csv.DictReader(stream)}
    found = keys(folder)
    other = {row["path"] for row in found["other"]}
    verdicts = {row["path"]: row["verdict"] for row in found["files"]}
    assert {path for path in loads if path in other} == {path for path in loads if path.endswith(".bin")}
    assert {path: verdict == "ok" for path, verdict in verdicts.items()} == {
        path: whole for path, whole in loads.items() if path not in other
    }
    assert Counter(verdicts.values()) == {"ok": 318, "unreadable": 34, "damaged": 4}
    assert found["wrong_extension"] == []


def test_what_is_neither_file_nor_folder_is_told_and_not_waited_for(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "one.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    told = audited(tmp_path)
    assert [(Path(row.path).name, row.detail) for row in told.problems] == [("pipe.jpg", "neither a file nor a folder")]
