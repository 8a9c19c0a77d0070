"""What is found in a folder, given what one look at each file told."""

from __future__ import annotations

import hashlib
import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from tasks.curate.audit import PAIRS, File, Findings, findings
from tasks.curate.config import NearDuplicates

CONFIG = NearDuplicates(radius=10, verify_radius=40)


def file(path: str, picture: str, *, bits: int = 0, **changes: object) -> File:
    """A whole JPEG. `picture` names what is seen, `bits` of its long hash and half as many of the short one differ."""
    seen = hashlib.sha256(picture.encode()).digest()
    split, label = ([None, None, *path.split("/")[:-1]])[-2:]
    values: dict[str, object] = {
        "format": "JPEG",
        "width": 100,
        "height": 80,
        "size": 1000,
        "sha256": hashlib.sha256(f"{picture} {bits}".encode()).hexdigest(),
        "contrast": 50.0,
        "phash": int.from_bytes(seen[:8]) ^ ((1 << bits // 4) - 1),
        "verify_hash": (int.from_bytes(seen) ^ ((1 << bits) - 1)).to_bytes(32),
    }
    return File(path, split, label, **({"verdict": "ok"} | values | changes))  # type: ignore[arg-type]


def broken(path: str, verdict: str = "unreadable", **changes: object) -> File:
    nothing = dict.fromkeys(("width", "height", "contrast", "phash", "verify_hash"))
    return file(path, "broken", **({"verdict": verdict, "reason": verdict, "detail": "why"} | nothing | changes))


def judged(*files: File) -> Findings:
    return findings(files, CONFIG)


def test_nothing_is_found_among_whole_strangers_with_right_names() -> None:
    found = judged(*(file(f"a/{number}.jpg", str(number)) for number in range(50)))
    assert not any(found.faults().values())
    assert [row["path"] for row in found.files] == sorted(f"a/{number}.jpg" for number in range(50))


def test_a_row_tells_what_was_measured() -> None:
    (row,) = judged(file("train/a/1.jpg", "x", phash=255, contrast=3.14159)).files
    assert row == {
        "path": "train/a/1.jpg",
        "split": "train",
        "class": "a",
        "verdict": "ok",
        "format": "JPEG",
        "width": 100,
        "height": 80,
        "bytes": 1000,
        "sha256": hashlib.sha256(b"x 0").hexdigest(),
        "contrast": 3.14,
        "phash": "00000000000000ff",
    }


def test_broken_files_stand_in_one_list_with_the_reason() -> None:
    found = judged(broken("b.jpg", format=None, reason="html"), broken("a.jpg", "damaged"))
    assert found.unreadable == [{"path": "b.jpg", "reason": "html", "detail": "why", "format": None}]
    assert found.damaged == [{"path": "a.jpg", "reason": "damaged", "detail": "why", "format": "JPEG"}]


def test_a_wrong_name_is_told_with_the_right_one() -> None:
    found = judged(
        file("a.png", "1"),
        file("b", "2"),
        file("c.jpg?w=300", "3", format="PNG"),
        file("d.jfif", "4"),
        file("e.PNG", "5", format="PNG"),
        file("f.heic", "6"),
        broken("g.png", "damaged"),
        broken("h.png"),
    )
    assert [(row["path"], row["reason"], row["extension"], row["expected"]) for row in found.wrong_extension] == [
        ("a.png", "mismatch", "png", "jpg"),
        ("b", "missing", "", "jpg"),
        ("c.jpg?w=300", "missing", "jpg?w=300", "png"),
        ("f.heic", "mismatch", "heic", "jpg"),
        ("g.png", "mismatch", "png", "jpg"),
    ]


def test_a_lone_gif_among_photos_is_a_stray_but_not_among_drawings_or_other_gifs() -> None:
    def strays(photos: int, drawings: int, gifs: int) -> list[str]:
        kinds = ["JPEG"] * photos + ["PNG"] * drawings + ["GIF"] * gifs
        ends = {"JPEG": "jpg", "PNG": "png", "GIF": "gif"}
        files = [file(f"{n:03}.{ends[kind]}", str(n), format=kind) for n, kind in enumerate(kinds)]
        found = judged(*files)
        assert found.wrong_extension == []
        return [row["reason"] for row in found.suspects]

    assert strays(20, 0, 1) == ["stray-gif"]
    assert strays(19, 0, 1) == []
    assert strays(40, 0, 2) == ["stray-gif"] * 2
    assert strays(10, 11, 1) == []


def test_a_gif_with_a_photos_name_is_a_stray_and_misnamed() -> None:
    found = judged(*(file(f"a/{number}.jpg", str(number)) for number in range(20)), file("b.jpg", "g", format="GIF"))
    assert [row["path"] for row in found.wrong_extension] == ["b.jpg"]
    assert found.suspects == [
        {
            "path": "b.jpg",
            "reason": "stray-gif",
            "detail": "a GIF among photos (1 to 20): a placeholder or an icon, mostly",
        }
    ]


def test_files_of_equal_bytes_are_one_group_and_no_near_group() -> None:
    found = judged(file("b.jpg", "x"), file("a.jpg", "x"), file("c.jpg", "y"))
    sha256 = hashlib.sha256(b"x 0").hexdigest()
    assert found.identical_groups == [{"sha256": sha256, "bytes": 1000, "files": ["a.jpg", "b.jpg"]}]
    assert found.near_groups == []


def test_a_near_group_holds_all_copies_of_its_members_and_the_range_of_their_distances() -> None:
    found = judged(
        file("d.jpg", "x", bits=24), file("a.jpg", "x"), file("c.jpg", "x", bits=8), file("b.jpg", "x", bits=8)
    )
    assert found.near_groups == [
        {"images": 3, "closest": 8, "farthest": 24, "files": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]}
    ]
    assert [group["files"] for group in found.identical_groups] == [["b.jpg", "c.jpg"]]


def test_radii_decide_what_is_near() -> None:
    pair = (file("a.jpg", "x"), file("b.jpg", "x", bits=24))
    assert findings(pair, NearDuplicates(verify_radius=24)).near_groups
    assert not findings(pair, NearDuplicates(verify_radius=23)).near_groups
    assert findings(pair, NearDuplicates(radius=6)).near_groups
    assert not findings(pair, NearDuplicates(radius=5)).near_groups


def test_chains_are_one_group_as_they_must_stay_on_one_side() -> None:
    found = judged(file("a.jpg", "x"), file("b.jpg", "x", bits=30), file("c.jpg", "x", bits=60))
    assert found.near_groups == [{"images": 3, "closest": 30, "farthest": 30, "files": ["a.jpg", "b.jpg", "c.jpg"]}]


def test_of_a_group_of_too_many_pairs_the_distances_are_unknown_and_of_smaller_ones_known() -> None:
    def frame(number: int) -> File:  # all near each other: two bits of the long hash apart, or as many of the short one
        seen, rest = number % 200, number // 200
        return file(f"a/{number}.jpg", "", sha256=f"{number}", phash=rest, verify_hash=(1 << seen).to_bytes(32))

    count = next(number for number in itertools.count() if number * (number - 1) // 2 > PAIRS)
    found = judged(*map(frame, range(count)), file("b/1.jpg", "y"), file("b/2.jpg", "y", bits=12))
    assert [(group["images"], group["closest"], group["farthest"]) for group in found.near_groups] == [
        (count, None, None),
        (2, 12, 12),
    ]


def test_flat_images_are_compared_by_their_bytes_only() -> None:
    flat = [file(f"{name}.jpg", "flat", bits=bits, contrast=1.0) for name, bits in (("a", 0), ("b", 0), ("c", 4))]
    found = judged(*flat)
    assert [group["files"] for group in found.identical_groups] == [["a.jpg", "b.jpg"]]
    assert found.near_groups == []
    assert [(row["path"], row["reason"]) for row in found.suspects] == [
        ("a.jpg", "flat"),
        ("b.jpg", "flat"),
        ("c.jpg", "flat"),
    ]
    assert judged(file("a.jpg", "x", contrast=CONFIG.min_contrast)).suspects == []


def test_damaged_and_too_large_files_are_compared_by_their_bytes_and_unreadable_ones_with_nothing() -> None:
    damaged = [broken(f"{split}/x/d.jpg", "damaged", sha256="d") for split in ("train", "val")]
    huge = [broken(f"{split}/x/h.jpg", reason="too-large", sha256="e", format=None) for split in ("train", "val")]
    page = [broken(f"{split}/x/p.jpg", reason="html", sha256="f", format=None) for split in ("train", "val")]
    gone = [broken(f"{split}/x/q.jpg", reason="forbidden", sha256=None) for split in ("train", "val")]
    found = judged(*damaged, *huge, *page, *gone)
    assert [group["sha256"] for group in found.identical_groups] == ["d", "e"]
    assert [leak["files"][0] for leak in found.split_leaks] == ["train/x/d.jpg", "train/x/h.jpg"]


def test_one_picture_in_two_classes_is_a_conflict_identical_if_any_bytes_are() -> None:
    found = judged(
        file("a/1.jpg", "x"),
        file("b/1.jpg", "x", bits=8),
        file("a/2.jpg", "y"),
        file("b/2.jpg", "y"),
        file("c/2.jpg", "y", bits=8),
        file("a/3.jpg", "z"),
        file("a/4.jpg", "z"),
        file("b/4.jpg", "z", bits=8),
    )
    assert found.label_conflicts == [
        {"kind": "near", "classes": ["a", "b"], "files": ["a/1.jpg", "b/1.jpg"]},
        {"kind": "identical", "classes": ["a", "b", "c"], "files": ["a/2.jpg", "b/2.jpg", "c/2.jpg"]},
        {"kind": "near", "classes": ["a", "b"], "files": ["a/3.jpg", "a/4.jpg", "b/4.jpg"]},
    ]
    assert found.split_leaks == []


def test_one_picture_in_two_splits_is_a_leak_also_within_a_class() -> None:
    found = judged(
        file("train/a/1.jpg", "x"),
        file("val/a/1.jpg", "x", bits=8),
        file("test/b/2.jpg", "y"),
        file("train/a/2.jpg", "y"),
        file("train/a/3.jpg", "z"),
        file("train/a/4.jpg", "z"),
    )
    assert found.split_leaks == [
        {"kind": "identical", "splits": ["test", "train"], "files": ["test/b/2.jpg", "train/a/2.jpg"]},
        {"kind": "near", "splits": ["train", "val"], "files": ["train/a/1.jpg", "val/a/1.jpg"]},
    ]
    assert [conflict["classes"] for conflict in found.label_conflicts] == [["a", "b"]]


def test_what_stands_in_no_class_or_split_contradicts_nothing() -> None:
    found = judged(file("1.jpg", "x"), file("a/1.jpg", "x"), file("train/a/2.jpg", "x", bits=8))
    assert len(found.near_groups) == 1
    assert (found.label_conflicts, found.split_leaks) == ([], [])


def test_names_that_are_no_text_are_kept() -> None:
    found = judged(file("a/\udcff.jpg", "x"), file("b/\udcfe.jpg", "x"))
    assert found.label_conflicts[0]["files"] == ["a/\udcff.jpg", "b/\udcfe.jpg"]


def test_no_file_at_all_is_no_finding() -> None:
    assert not any(vars(judged()).values())


FOLDERS = ("train/a", "train/b", "val/a", "val/b")


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from((0, 8, 16, 60)), st.sampled_from(FOLDERS)), max_size=14),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_files_does_not_count_and_groups_agree(
    drawn: list[tuple[str, int, str]], rng: random.Random
) -> None:
    files = [file(f"{where}/{n:02}.jpg", seen, bits=bits) for n, (seen, bits, where) in enumerate(drawn)]
    found = judged(*files)
    rng.shuffle(files)
    assert judged(*files) == found
    paths = {row["path"] for row in found.files}
    near = [path for group in found.near_groups for path in group["files"]]
    assert len(near) == len(set(near)) <= len(paths)
    same = {path: number for number, group in enumerate(found.near_groups) for path in group["files"]}
    for one, other in itertools.combinations(files, 2):  # each confirmed pair is in one group, by brute force
        apart = (int.from_bytes(one.verify_hash or b"") ^ int.from_bytes(other.verify_hash or b"")).bit_count()
        close = ((one.phash or 0) ^ (other.phash or 0)).bit_count()
        if one.sha256 != other.sha256 and apart <= CONFIG.verify_radius and close <= CONFIG.radius:
            assert same[one.path] == same[other.path]
    groups = [*found.near_groups, *found.identical_groups]
    for split, kind in (("train", "val"), ("val", "train")):
        spanning = {path for group in groups for path in group["files"] if _spans(group["files"], split, kind)}
        assert spanning <= {path for leak in found.split_leaks for path in leak["files"]}


def _spans(paths: list[str], *splits: str) -> bool:
    return {path.split("/")[0] for path in paths} >= set(splits)
