"""The command `harvestman`. The only place where errors become exit codes: 1 for ours, 2 for wrong usage.

Imports nothing heavy at the top: `harvestman --help` answers in under a second.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from flows import audit, diff, inspection
from flows.options import (
    By,
    DecisionFiles,
    Json,
    Observations,
    Offline,
    PerClass,
    Photos,
    RecipeFile,
    Retry,
    Seed,
    Step,
    TrainOn,
    Until,
    Verbose,
    WeightsDir,
)  # fmt: skip
from tasks.core.errors import HarvestmanError

# ruff: noqa: PLC0415 - each command imports what it needs when it is called; see the docstring

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From image addresses to a tuned, tracked, registered classifier, on Prefect.",
)
out, err = Console(), Console(stderr=True)
_INTERRUPTED = 130  # exit code: 128 and the number of SIGINT


def main() -> None:
    """Run the command line."""
    try:
        app(standalone_mode=True)
    except HarvestmanError as error:
        _fail(error)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:  # what Typer makes of Ctrl-C, without a word
            _stopped()
        raise
    except Exception as error:  # a lost server comes in many types; what is not one is raised again
        from flows.guard import server_error

        translated = server_error(error)
        if translated is None:
            raise
        _fail(translated)


def _stopped() -> None:
    err.print("Stopped. What is stored stays stored: the same command goes on from there.")


def _fail(error: HarvestmanError) -> None:
    _tell(error)
    if os.environ.get("HARVESTMAN_TRACEBACK"):
        err.print_exception()
    sys.exit(1)


def _tell(error: HarvestmanError) -> None:
    err.print(error.what, style="bold red", highlight=False, markup=False, soft_wrap=True)
    for line in (error.received, error.hint):
        if line:
            err.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command()
def run(
    recipe: RecipeFile,
    retry: Retry = "",
    train_on: TrainOn = None,
    until: Until = "train",
    verbose: Verbose = False,
) -> None:
    """Collect, curate, train and register: everything a recipe says, in this process."""
    _prepare_process(verbose=verbose)
    _pipeline(recipe, retry=_outcomes(retry), train_on=train_on, until=until)


@app.command()
def check(recipe: RecipeFile, offline: Offline = False, as_json: Json = False) -> None:
    """Say what a recipe will bring, cost and take, and whether it can run here, before anything is fetched."""
    from flows.check import look, show
    from flows.guard import guarding
    from flows.recipe import load_recipe

    with guarding(None, _tell, stopped=_stopped):  # a site may take minutes to answer
        say = None if as_json else _whisper
        checked = look(load_recipe(recipe), recipe, _settings(), offline=offline, say=say)
    if as_json:
        out.print_json(json.dumps(checked.as_json()))
    else:
        show(checked, out)
        for error in checked.problems:
            _tell(error)
        out.print("ready to run" if checked.ready else "to be mended first, see above", highlight=False)
    raise typer.Exit(0 if checked.ready else 1)


@app.command()
def status(recipe: RecipeFile, as_json: Json = False) -> None:
    """Show what stands of a recipe: addresses by outcome, the newest data set, the newest model."""
    from flows.recipe import load_recipe
    from flows.summary import Standing, show, summarise

    settings, loaded = _settings(), load_recipe(recipe)
    summary = summarise(Standing(loaded, settings.folders))
    if as_json:
        out.print_json(json.dumps(summary, default=str))
        return
    show(summary, out)
    rehearsed = settings.folders.root / "rehearsals" / loaded.name / "recipe.yaml"
    if not summary["addresses"] and rehearsed.is_file():
        _say(f"It has been rehearsed: harvestman status {rehearsed}")


@app.command()
def rehearse(
    recipe: RecipeFile,
    photos: Photos = None,
    observations: Observations = None,
    weights_dir: WeightsDir = None,
    per_class: PerClass = 120,
    seed: Seed = 1337,
    until: Until = "train",
    verbose: Verbose = False,
) -> None:
    """Run a recipe for real against a photo site on this machine that misbehaves like the web."""
    from tasks.rehearse.stage import serving

    _prepare_process(verbose=verbose)
    from flows.preflight import check_weights
    from flows.recipe import load_recipe

    if weights_dir is not None:
        os.environ["HARVESTMAN_WEIGHTS_DIR"] = str(weights_dir.resolve())
    check_weights(load_recipe(recipe), _settings())  # before anything is painted
    rehearsal = _stage(recipe, photos, observations=observations, per_class=per_class, seed=seed)
    with serving(rehearsal):
        _pipeline(rehearsal.recipe, retry=(), train_on=None, until=until)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers and workers running.")] = False,
    per_class: PerClass = 120,
    seed: Seed = 1337,
) -> None:
    """See everything work: servers, workers, a rehearsal of recipes/demo.yaml through the deployments."""
    from flows.demo import run_demo

    run_demo(_settings(), out, keep=keep, per_class=per_class, seed=seed)


@app.command()
def up() -> None:
    """Start this workspace's Prefect server, MLflow server and workers; register the deployments."""
    from flows.stack import up as start

    stack = start(_settings(), say=_say)
    out.print(f"Prefect  {stack.prefect_ui_url}\nMLflow   {stack.mlflow_uri}")
    out.print("prefect and mlflow commands find them through:", style="dim")
    export = f"  export PREFECT_API_URL={stack.prefect_api_url} MLFLOW_TRACKING_URI={stack.mlflow_uri}"
    out.print(export, highlight=False, soft_wrap=True)
    out.print("harvestman down stops them.", style="dim")


@app.command()
def down() -> None:
    """Stop what `up` started, and nothing else."""
    from flows.stack import down as stop

    stop(_settings(), say=_say)


@app.command()
def review(recipe: RecipeFile) -> None:
    """List the images of a recipe that wait for a person: label conflicts, and what looks mislabelled or off-topic."""
    from flows.decisions import show_review

    show_review(recipe, _settings(), out)


@app.command()
def decide(recipe: RecipeFile, files: DecisionFiles, by: By = None) -> None:
    """Record a person's decisions (keep, reject, relabel) and resume the runs that wait for them.

    FILE: CSV or Parquet with the columns sha256, verdict and, for relabel, label; the review list with its column
    `verdict` filled in is one. Blank verdicts are left open.
    """
    from flows.decisions import decide as record
    from flows.decisions import login

    record(recipe, files, settings=_settings(), by=by or login(), console=out)


app.command()(inspection.inspect)
app.command()(audit.audit)
app.command()(diff.diff)


def _say(line: str) -> None:
    out.print(line, highlight=False, markup=False, soft_wrap=True)


def _whisper(line: str) -> None:
    err.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def _settings() -> Any:  # noqa: ANN401 - flows.settings.Settings, imported late
    """Return the settings; servers of this workspace's stack are used where the environment names none."""
    from flows.settings import read_settings
    from flows.stack import find_stack, stack_environment

    stack = find_stack(read_settings())
    if stack is not None:
        for name, value in stack_environment(stack).items():
            os.environ.setdefault(name, value)
    return read_settings()


def _prepare_process(*, verbose: bool) -> None:
    """Set what Prefect and TensorFlow read while they are imported, then show progress on this terminal."""
    _settings()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # Prefect's own 20 seconds are too few for a busy machine's first start, which makes its database.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    if verbose:
        os.environ["HARVESTMAN_TRACEBACK"] = "1"
    else:
        # The run's own lines are shown by flows.progress; the rest is on the run's page.
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")


def _pipeline(recipe: Path, *, retry: tuple[str, ...], train_on: str | None, until: Step) -> None:
    from flows.recipe import load_recipe

    loaded = load_recipe(recipe)
    from flows.preflight import preflight

    preflight(loaded, _settings(), trains=until == "train")  # what can be known is told before anything is started
    from flows.guard import guarding
    from flows.pipeline import pipeline
    from flows.progress import show_on
    from flows.settings import Settings
    from flows.summary import Standing, show, summarise

    show_on(err)
    with guarding(Settings().prefect_api_url, _tell, stopped=_stopped):
        pipeline(str(recipe), train_on=train_on, retry=retry, until=until)
    show(summarise(Standing(loaded, Settings().folders)), out)


def _outcomes(text: str) -> tuple[str, ...]:
    return tuple(slug.strip() for slug in text.split(",") if slug.strip())


def _stage(recipe: Path, photos: Path | None, *, observations: str | None, per_class: int, seed: int) -> Any:  # noqa: ANN401 - tasks.rehearse.stage.Rehearsal, imported late
    """Stock the photo site and point this process' settings at it."""
    from flows.recipe import load_recipe
    from flows.settings import Settings
    from tasks.rehearse.stage import rehearse as stage

    folder = Settings().folders.root / "rehearsals" / load_recipe(recipe).name
    rehearsal = stage(recipe, folder, photos=photos, observations=observations, per_class=per_class, seed=seed)
    os.environ["HARVESTMAN_ALLOWED_HOSTS"] = json.dumps(rehearsal.allowed_hosts)
    os.environ["HARVESTMAN_APIS"] = json.dumps(rehearsal.apis)
    for name in ("GOOGLE_KEY", "GOOGLE_CX", "SERPAPI_KEY", "SERPER_KEY"):
        os.environ[f"HARVESTMAN_{name}"] = "rehearsal"  # the photo site takes any; a real one has no business there
    return rehearsal


if __name__ == "__main__":
    main()
