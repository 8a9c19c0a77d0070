"""What `harvestman audit` shows to people: counts, the findings, what to do.

Owns the words and the cutting of long lists. Reads an audit; writes to the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from flows.terminal import printable

if TYPE_CHECKING:
    from flows.audit import Audited

SHOWN = 8  # findings of a kind
FILES = 4  # of a group
Row = dict[str, Any]

_TITLES = {
    "unreadable": "unreadable",
    "damaged": "damaged",
    "wrong_extension": "wrong extension",
    "suspects": "suspects",
    "label_conflicts": "label conflicts",
    "split_leaks": "split leaks",
    "identical_groups": "identical files",
    "near_groups": "near-duplicates",
}
_TO_DO = {
    "unreadable": "replace or delete what is unreadable or damaged",
    "damaged": "replace or delete what is unreadable or damaged",
    "wrong_extension": "rename what its name does not fit",
    "suspects": "look at the suspects",
    "label_conflicts": "decide on one class for each conflict",
    "split_leaks": "put each leaking group on one side",
    "identical_groups": "keep one file of each group, or keep the group on one side of every split",
    "near_groups": "keep one file of each group, or keep the group on one side of every split",
}


def show(audited: Audited, console: Console) -> None:
    """Print an audit for people."""
    for line in lines(audited):
        console.print(line, soft_wrap=True)


def lines(audited: Audited) -> Iterator[Text]:
    """Yield the counts, then each kind of finding, long lists cut, at last what to do."""
    faults = audited.findings.faults()
    yield Text(_head(audited), style="bold")
    yield Text(f"\n{'':18}{'groups':>8}{'files':>8}", style="dim")
    for key, title in _TITLES.items():
        yield _count(title, faults[key])
    for title, number in (("other files", len(audited.other)), ("not looked at", len(audited.problems))):
        if number:
            yield Text(f"{title:18}{'':8}{number:>8,}")
    for key, title in _TITLES.items():
        yield from _section(title, faults[key], _DESCRIBED[key])
    yield from _section(
        "not looked at", [{"path": fault.path, "detail": fault.detail} for fault in audited.problems], _fault
    )
    yield Text("\n" + _to_do(faults), style="bold")


def _head(audited: Audited) -> str:
    files = audited.findings.files
    classes = {row["class"] for row in files} - {None}
    splits = sorted({row["split"] for row in files} - {None})
    tree = f", {len(classes)} classes" if classes else ""
    tree += f", {len(splits)} splits ({', '.join(splits)})" if splits else ""
    return printable(f"{audited.folder}: {len(files):,} image files{tree}")


def _count(title: str, rows: list[Row]) -> Text:
    grouped = [row["files"] for row in rows if "files" in row]
    groups = f"{len(grouped):,}" if grouped else ""
    files = sum(map(len, grouped)) if grouped else len(rows)
    return Text(f"{title:18}{groups:>8}{files:>8,}", style="red" if rows else "green")


def _section(title: str, rows: list[Row], described: Callable[[Row], str]) -> Iterator[Text]:
    if not rows:
        return
    yield Text(f"\n{title}", style="bold")
    for row in rows[:SHOWN]:
        yield Text("  " + printable(described(row)))
        paths = row.get("files", [])
        shown = len(paths) if len(paths) == FILES + 1 else FILES
        for path in paths[:shown]:
            yield Text("    " + printable(path))
        if len(paths) > shown:
            yield Text(f"    and {len(paths) - shown:,} more", style="dim")
    if len(rows) > SHOWN:
        yield Text(f"  and {len(rows) - SHOWN:,} more: --json lists all", style="dim")


def _fault(row: Row) -> str:
    return f"{row['path']}  ({row['detail'] or row['reason']})"


def _misnamed(row: Row) -> str:
    if row["reason"] == "missing":
        return f"{row['path']}  (a {row['format']}, its name has no image extension: loaders pass it over)"
    return f"{row['path']}  (it is a {row['format']})"


def _identical(row: Row) -> str:
    return f"{len(row['files'])} files of {row['bytes']:,} bytes"


def _near(row: Row) -> str:
    closest, farthest = row["closest"], row["farthest"]
    apart = f", {closest}" if closest == farthest else f", {closest} to {farthest}"
    told = "" if closest is None else f"{apart} of 256 bits apart"
    return f"{len(row['files']):,} files, {row['images']:,} of them different{told}"


def _conflict(row: Row) -> str:
    return f"{row['kind']}, in {' and '.join(row['classes'])}"


def _leak(row: Row) -> str:
    return f"{row['kind']}, in {' and '.join(row['splits'])}"


_DESCRIBED: dict[str, Callable[[Row], str]] = {
    "unreadable": _fault,
    "damaged": _fault,
    "wrong_extension": _misnamed,
    "suspects": _fault,
    "label_conflicts": _conflict,
    "split_leaks": _leak,
    "identical_groups": _identical,
    "near_groups": _near,
}


def _to_do(faults: dict[str, list[Row]]) -> str:
    steps = list(dict.fromkeys(step for key, step in _TO_DO.items() if faults[key]))
    return f"To do: {'; '.join(steps)}." if steps else "Nothing was found."
