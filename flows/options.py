"""The arguments and options of the command line: their names, types and words of help, once for all commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe file, e.g. recipes/demo.yaml.")]
Retry = Annotated[
    str,
    typer.Option(metavar="OUTCOMES", help="Ask again for addresses with these outcomes, e.g. timeout,rate-limited."),
]
TrainOn = Annotated[
    str | None,
    typer.Option(metavar="POOL", help="Train on this Prefect work pool, e.g. gpu; default: in this process."),
]
Step = Literal["collect", "curate", "train"]
Until = Annotated[Step, typer.Option(help="The last step to take; `curate` ends with the data set.")]
Offline = Annotated[bool, typer.Option("--offline", help="Ask no site; read the sources that are files.")]
DecisionFiles = Annotated[list[Path], typer.Argument(metavar="FILE…", help="Decisions: CSV or Parquet.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decided; default: your login name.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show Prefect's own log lines and tracebacks.")]
Photos = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Photos to serve, one sub-folder a class; default: painted ones.")
]
Observations = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX", help="First group names a photo's observation in its file name; default: each its own."
    ),
]
PerClass = Annotated[int, typer.Option(min=10, help="Photos painted of each class, when --photos is not given.")]
Seed = Annotated[int, typer.Option(help="Seed of what is painted, and of how the photo site misbehaves.")]
WeightsDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder with pretrained weights files; default: Keras' own.")
]
