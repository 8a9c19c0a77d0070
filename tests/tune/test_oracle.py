from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import StopError
from tasks.models.config import LearnConfig
from tasks.tune.config import TuneConfig
from tasks.tune.oracle import ask, release, tell

SPACE = {
    "model.head.dropout": {"min": 0, "max": 0.5, "step": 0.1},
    "model.head.dense": {"choice": [[], [64], [64, 32]]},
    "train.learning_rate": {"min": 1e-4, "max": 1e-2, "log": True},
    "balance.class_weights": {"choice": [True, False]},
    "train.batch_size": {"min": 8, "max": 64},
}


def tuning(**fields: object) -> TuneConfig:
    return TuneConfig.model_validate({"trials": 5, "space": SPACE, **fields})


def finish(search: Path, config: TuneConfig, *, score: float | None = 0.5, epochs: int = 9) -> list[dict[str, object]]:
    found = []
    while (trial := ask(search, config, worker="w", max_epochs=epochs)) is not None:
        found.append({"id": trial.trial_id, **trial.overrides})
        value = None if score is None else score + 0.01 * len(found)
        tell(search, config, trial_id=trial.trial_id, score=value, message="it broke", max_epochs=epochs)
    return found


@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid", "hyperband"])
def test_every_tuner_ends_and_proposes_what_the_recipe_accepts(tuner: str, tmp_path: Path) -> None:
    trials = finish(tmp_path, tuning(tuner=tuner))
    assert len(trials) == 5 if tuner != "hyperband" else len(trials) > 5
    assert len({str(sorted(trial.items(), key=str)) for trial in trials}) == len(trials)
    for trial in trials:
        learn = LearnConfig().override({name: value for name, value in trial.items() if name != "id"})
        assert 0 <= learn.model.head.dropout <= 0.5
        assert learn.model.head.dense in {(), (64,), (64, 32)}
        assert 8 <= learn.train.batch_size <= 64
    if tuner == "hyperband":
        assert {trial["train.epochs"] for trial in trials} > {9}


def test_a_worker_gets_its_open_trial_again_and_another_a_new_one(tmp_path: Path) -> None:
    config = tuning()
    first = ask(tmp_path, config, worker="a", max_epochs=9)
    assert ask(tmp_path, config, worker="a", max_epochs=9) == first
    other = ask(tmp_path, config, worker="b", max_epochs=9)
    assert other is not None
    assert first is not None
    assert other.trial_id != first.trial_id


def test_the_same_seed_asks_the_same_questions_whatever_interrupts(tmp_path: Path) -> None:
    config = tuning()
    calm = finish(tmp_path / "calm", config)
    killed = []
    while (trial := ask(tmp_path / "killed", config, worker=f"w{len(killed)}", max_epochs=9)) is not None:
        release(tmp_path / "killed", config, max_epochs=9)  # the worker died; a new one comes
        again = ask(tmp_path / "killed", config, worker=f"x{len(killed)}", max_epochs=9)
        assert again == trial
        killed.append({"id": trial.trial_id, **trial.overrides})
        tell(
            tmp_path / "killed",
            config,
            trial_id=trial.trial_id,
            score=0.5 + 0.01 * len(killed),
            message="",
            max_epochs=9,
        )
    assert killed == calm


def test_a_failed_trial_is_not_asked_again(tmp_path: Path) -> None:
    config = tuning(max_failures=9)
    ids = []
    while (trial := ask(tmp_path, config, worker="w", max_epochs=9)) is not None:
        ids.append(trial.trial_id)
        score = None if trial.trial_id == "0" else 0.5
        tell(tmp_path, config, trial_id=trial.trial_id, score=score, message="it broke", max_epochs=9)
    assert ids == ["0", "1", "2", "3", "4"]


def test_failures_in_a_row_end_the_search_with_the_last_ones_words(tmp_path: Path) -> None:
    with pytest.raises(StopError) as caught:
        finish(tmp_path, tuning(max_failures=2), score=None)
    assert caught.value.what == "2 trials failed in a row."
    assert caught.value.received == "it broke"


def test_a_recipe_without_a_space_is_one_trial(tmp_path: Path) -> None:
    assert finish(tmp_path, tuning(space={})) == [{"id": "0"}]
