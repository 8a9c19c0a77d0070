"""Keras Tuner's oracle as a library: asked for trials, told their scores, killed and resumed at will.

Owns searches/<fingerprint>/oracle.json: the oracle's whole state and that of its trials in one file,
replaced whole after each question and answer. Keras Tuner's own files (one an oracle, one a trial,
written in place) can disagree after a kill; its chief/worker service hangs when a worker dies.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial as KerasTrial
from sklearn.exceptions import ConvergenceWarning

from tasks.core.errors import StopError
from tasks.core.files import locked, read_json, write_json
from tasks.tune.config import Choice, Range, TuneConfig


@dataclass(frozen=True)
class Trial:
    """A question of the oracle: its id and the recipe fields it sets."""

    trial_id: str
    overrides: dict[str, Any]


def ask(search: Path, config: TuneConfig, *, worker: str, max_epochs: int) -> Trial | None:
    """Return the next trial for `worker` (the same again while it is unanswered), or None at the end.

    Args:
        search: the search's folder.
        config: the recipe's `tune:` block.
        worker: names who asks.
        max_epochs: epochs of the longest trial (Hyperband).
    """
    with locked(search / "oracle.lock", "the oracle", wait=True):
        oracle = _load(search, config, max_epochs)
        with warnings.catch_warnings():
            # The Gaussian process of a search with few trials: nothing that anybody could act on.
            warnings.simplefilter("ignore", ConvergenceWarning)
            trial = oracle.create_trial(worker)
        _save(search, oracle)
    if trial.status != "RUNNING":
        return None
    return Trial(trial.trial_id, _overrides(trial.hyperparameters.values, config.space))


def tell(
    search: Path, config: TuneConfig, *, trial_id: str, score: float | None, message: str, max_epochs: int
) -> None:
    """Answer a trial: its score, or None when it failed.

    Raises:
        StopError: too many trials have failed in a row.
    """
    with locked(search / "oracle.lock", "the oracle", wait=True):
        oracle = _load(search, config, max_epochs)
        trial = oracle.trials[trial_id]
        if score is None:
            trial.status, trial.message = "FAILED", message
        else:
            oracle.update_trial(trial_id, {config.objective: score})
            trial.status = "COMPLETED"
        try:
            oracle.end_trial(trial)
        except RuntimeError as error:
            raise StopError(
                f"{config.max_failures} trials failed in a row.",
                received=message,
                hint="Mend the cause above, or the search space, and run again: finished trials are kept.",
            ) from error
        finally:
            _save(search, oracle)


def release(search: Path, config: TuneConfig, *, max_epochs: int) -> None:
    """Offer again what was asked by processes that no longer exist; called when a search is resumed."""
    if not (search / "oracle.json").is_file():
        return
    with locked(search / "oracle.lock", "the oracle", wait=True):
        oracle = _load(search, config, max_epochs)
        oracle._retry_queue.extend(trial.trial_id for trial in oracle.ongoing_trials.values())  # noqa: SLF001 - as its own reload()
        oracle.ongoing_trials = {}
        _save(search, oracle)


def _objective(config: TuneConfig) -> Any:  # noqa: ANN401 - keras_tuner has no types
    return keras_tuner.Objective(config.objective, "min" if config.objective == "val_loss" else "max")


def _oracle(config: TuneConfig, max_epochs: int) -> Any:  # noqa: ANN401 - keras_tuner has no types
    common = {
        "objective": _objective(config),
        "hyperparameters": _hyperparameters(config.space),
        "allow_new_entries": False,
        "tune_new_entries": False,
        "seed": config.seed,
        "max_consecutive_failed_trials": config.max_failures,
    }
    oracles = keras_tuner.oracles
    if config.tuner == "hyperband":
        return oracles.HyperbandOracle(max_epochs=max_epochs, **common)
    if config.tuner == "grid":
        return oracles.GridSearchOracle(max_trials=config.trials, **common)
    if config.tuner == "bayesian":
        # Its default of 3 random trials a hyperparameter makes a short search a random one.
        initial = max(2, min(config.trials // 3, 2 * len(config.space)))
        return oracles.BayesianOptimizationOracle(max_trials=config.trials, num_initial_points=initial, **common)
    return oracles.RandomSearchOracle(max_trials=config.trials, **common)


def _hyperparameters(space: dict[str, Range | Choice]) -> Any:  # noqa: ANN401 - keras_tuner has no types
    found = keras_tuner.HyperParameters()
    for name, domain in sorted(space.items()):
        if isinstance(domain, Choice):
            # Keras Tuner's choices are scalars; lists travel as JSON.
            found.Choice(name, [_encode(value) for value in domain.choice])
            continue
        whole = isinstance(domain.min, int) and isinstance(domain.max, int) and isinstance(domain.step, int | None)
        sampling = "log" if domain.log else "linear"
        make = found.Int if whole else found.Float
        make(name, domain.min, domain.max, step=domain.step, sampling=sampling)
    return found


def _encode(value: object) -> Any:  # noqa: ANN401 - str, int, float or bool
    return json.dumps(value) if isinstance(value, tuple) else value


def _overrides(values: dict[str, Any], space: dict[str, Range | Choice]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, domain in space.items():
        value = values[name]
        if isinstance(domain, Choice):
            value = next(option for option in domain.choice if _encode(option) == value)
        found[name] = list(value) if isinstance(value, tuple) else value
    if "tuner/epochs" in values:  # Hyperband's own
        found["train.epochs"] = int(values["tuner/epochs"])
    return found


def _load(search: Path, config: TuneConfig, max_epochs: int) -> Any:  # noqa: ANN401 - keras_tuner has no types
    oracle = _oracle(config, max_epochs)
    oracle.verbose = 0
    # Keras Tuner writes its own files as it goes; they are thrown away with this folder.
    scratch = tempfile.TemporaryDirectory(prefix="oracle-", ignore_cleanup_errors=True)
    oracle._scratch = scratch  # noqa: SLF001 - lives as long as the oracle
    oracle._set_project_dir(scratch.name, "search")  # noqa: SLF001 - documented for use without a Tuner
    path = search / "oracle.json"
    if path.is_file():
        state = read_json(path)
        oracle.trials = {key: KerasTrial.from_state(value) for key, value in sorted(state["trials"].items())}
        oracle.set_state(state["oracle"])
        _restore_grid(oracle, state["grid"])
    return oracle


def _save(search: Path, oracle: Any) -> None:  # noqa: ANN401 - keras_tuner has no types
    trials = {key: trial.get_state() for key, trial in sorted(oracle.trials.items())}
    write_json(search / "oracle.json", {"oracle": oracle.get_state(), "trials": trials, "grid": _grid(oracle)})
    oracle._scratch.cleanup()  # noqa: SLF001 - ours


def _grid(oracle: Any) -> dict[str, list[str]] | None:  # noqa: ANN401 - keras_tuner has no types
    """Return the grid's place, which Keras Tuner 1.4 leaves out of its state: a reloaded grid would end at once."""
    if not isinstance(oracle, keras_tuner.oracles.GridSearchOracle):
        return None
    order: list[str] = oracle.start_order[:1]
    while order and (after := oracle._ordered_ids.next(order[-1])) is not None:  # noqa: SLF001 - see above
        order.append(after)
    return {"order": order, "next": list(oracle._populate_next)}  # noqa: SLF001 - see above


def _restore_grid(oracle: Any, place: dict[str, list[str]] | None) -> None:  # noqa: ANN401 - keras_tuner has no types
    for trial_id in place["order"] if place else []:
        oracle._ordered_ids.insert(trial_id)  # noqa: SLF001 - see _grid
    if place:
        oracle._populate_next = list(place["next"])  # noqa: SLF001 - see _grid
