"""`harvestman diff`: what changed between two data set versions, per class and in all.

Owns the command, how versions are named and both forms of the output. Reads the workspace; writes nothing. Imports
nothing heavy at the top, for `harvestman --help`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.terminal import printable
from tasks.core.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.core.workspace import Workspace
    from tasks.split.diff import Diff

# ruff: noqa: PLC0415 - imported when the command is called; see the docstring

LISTED = 20  # images of each kind that people are shown; --json has them all
_CLASSES = 40  # rows of the table of classes that people are shown
_HEADS = ("class", "old", "new", "added", "gone", "moved", "relabelled to", "from", "refolded")
_MIN_PREFIX = 2  # characters of a version's name

Old = Annotated[str, typer.Argument(metavar="V1", help="A version: its folder, or the beginning of its name.")]
New = Annotated[str, typer.Argument(metavar="V2", help="The version to compare it with.")]
OfRecipe = Annotated[
    str | None, typer.Option("--recipe", metavar="RECIPE", help="Look for the names only among this recipe's versions.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, every image in full.")]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="Exit with 1 when the versions differ.")]


def diff(  # noqa: PLR0917 - Typer reads parameters, not positions
    old: Old, new: New, recipe: OfRecipe = None, as_json: Json = False, exit_code: ExitCode = False
) -> None:
    """Say what changed between two data set versions: images added, gone (and why), moved to another split, relabelled.

    RECIPE: a recipe's name or its file. A version that is gone from the workspace can be named by the path of a copy.

    Exit code 1: a version is not found, or --exit-code and they differ.
    """
    from tasks.split.diff import diff as compare

    found = compare(*(find_version(name, recipe) for name in (old, new)))
    if as_json:
        sys.stdout.write(json.dumps(found.as_json(), indent=2, ensure_ascii=True) + "\n")
    else:
        from rich.console import Console

        show(found, Console())
    if exit_code and found.differs:
        raise typer.Exit(1)


def find_version(name: str, recipe: str | None = None) -> Path:
    """Return the folder of the version that `name` means: a path, or the beginning of a name in the workspace.

    Raises:
        DataError: no version is meant, or several are; says which there are.
    """
    path = Path(name)
    # Any other file or folder of that name says nothing: the name may be the beginning of a version's.
    if (path.suffix == ".parquet" and path.is_file()) or (path / "manifest.parquet").is_file():
        return path
    from flows.settings import read_settings

    workspace = read_settings().folders
    folders = versions(workspace, _recipe_name(recipe) if recipe else "*")
    meant = [folder for folder in folders if folder.name == name]
    if not meant and len(name) >= _MIN_PREFIX:
        meant = [folder for folder in folders if folder.name.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    existing = "\n".join(f"  {folder.parent.name}/{folder.name}" for folder in (meant or folders)[:LISTED])
    more = f"\n  … and {len(meant or folders) - LISTED} more" if len(meant or folders) > LISTED else ""
    where = f"{workspace.root / 'datasets'}" + (f", recipe {_recipe_name(recipe)}" if recipe else "")
    raise DataError(
        f"{name} may be one of several data set versions." if meant else f"There is no data set version {name}.",
        received=f"In {where}:\n{existing or '  no version'}{more}",
        hint="Write more of its name, or name its recipe with --recipe." if meant else "Name a version, or its folder.",
    )


def versions(workspace: Workspace, recipe: str = "*") -> list[Path]:
    """Return the folders of all published versions, of one recipe where one is named, sorted."""
    return sorted(
        path.parent
        for path in workspace.root.glob(f"datasets/{recipe}/*/manifest.parquet")
        if not path.parent.name.startswith(".")
    )


def _recipe_name(recipe: str) -> str:
    if Path(recipe).suffix not in {".yaml", ".yml"}:
        return recipe
    from flows.recipe import load_recipe

    return load_recipe(Path(recipe)).name


def show(found: Diff, console: Console) -> None:
    """Print what changed for people: a table of classes, then the images of each kind, long lists cut."""
    from rich.text import Text

    old, new = found.old, found.new
    heading = f"{old['version']} ({old['images']:,} images)  to  {new['version']} ({new['images']:,} images)"
    console.print(Text(heading, style="bold"), soft_wrap=True)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.counts.items() if count)
    console.print(counts or "no difference", highlight=False, soft_wrap=True)
    if not found.differs:
        return
    _show_classes(found, console)
    for kind, lines in _lines(found).items():
        count = found.counts[kind]
        if not count:
            continue
        console.print(Text(f"\n{kind} ({count:,})", style="bold"))
        for line in lines:
            console.print(Text(printable(line)), soft_wrap=True)
        if count > len(lines):
            console.print(f"  … and {count - len(lines):,} more (all of them: --json)", style="dim", highlight=False)


def _show_classes(found: Diff, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    rows = [row for row in found.classes.rows() if any(row[3:])]
    # Where nothing changed in a column, it is left out: most often only `added` has anything to say.
    shown = [place for place in range(len(_HEADS)) if place < 3 or any(row[place] for row in rows)]  # noqa: PLR2004 - class, old, new
    table = Table(box=None, pad_edge=False)
    for place in shown:
        table.add_column(_HEADS[place], justify="right" if place else "left")
    for row in rows[:_CLASSES]:
        table.add_row(*(Text(printable(row[place]) if place == 0 else f"{row[place]:,}") for place in shown))
    console.print()
    console.print(table)
    quiet = found.classes.height - len(rows)
    if len(rows) > _CLASSES:
        console.print(
            f"… and {len(rows) - _CLASSES:,} more classes (all of them: --json)", style="dim", highlight=False
        )
    if quiet:
        console.print(f"{quiet:,} class{'es' * (quiet > 1)} unchanged", style="dim", highlight=False)


def _lines(found: Diff) -> dict[str, list[str]]:
    """Return the first images of each kind of change, a line each."""
    added = found.added.head(LISTED).rows(named=True)
    gone = found.gone.head(LISTED).rows(named=True)
    return {
        "added": [f"  {row['sha256'][:12]}  {row['split']}/{row['label']}" for row in added],
        "gone": [f"  {row['sha256'][:12]}  {row['split']}/{row['label']}  {_why(row)}" for row in gone],
        "moved": [_change(row, row["label"]) for row in found.moved.head(LISTED).rows(named=True)],
        "relabelled": [_change(row, row["split"]) for row in found.relabelled.head(LISTED).rows(named=True)],
        "refolded": [_change(row, row["label"]) for row in found.refolded.head(LISTED).rows(named=True)],
    }


def _why(row: dict[str, str | None]) -> str:
    detail = f" ({row['detail']})" if row["detail"] else ""
    return f"{row['reason'] or 'reason unknown'}{detail}"


def _change(row: dict[str, object], beside: object) -> str:
    before, after = ("none" if row[side] is None else row[side] for side in ("before", "after"))
    return f"  {str(row['sha256'])[:12]}  {before} -> {after}  ({beside})"
