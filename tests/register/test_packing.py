from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tasks.register.packing import copy_sources, needed_sources, own_modules, requirements


def test_a_network_names_the_modules_of_its_own_layers(make_fit: Callable[..., Path]) -> None:
    assert own_modules(make_fit() / "model.keras") == ["tasks.models.build"]


def test_only_what_is_needed_travels() -> None:
    plain = needed_sources([])
    assert {"tasks", "tasks.models", "tasks.models.pixels"} <= set(plain)
    assert not [name for name in plain if name.split(".")[1:2] not in ([], ["models"], ["core"])]
    assert "tasks.models.build" not in plain
    custom = needed_sources(["tasks.models.build"])
    assert {"tasks.models.build", "tasks.models.config", "tasks.core.errors"} <= set(custom)


def test_the_copied_package_imports_by_itself(tmp_path: Path) -> None:
    copy_sources(["tasks.models.build"], tmp_path)
    code = "import tasks.models.pixels, tasks.models.config as c; print(c.__file__)"
    answer = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
                            capture_output=True, text=True, check=True, cwd=tmp_path)  # fmt: skip
    assert answer.stdout.strip() == str(tmp_path / "tasks" / "models" / "config.py")


def test_requirements_are_pinned_and_contain_tensorflow_once() -> None:
    found = requirements()
    assert all(re.fullmatch(r"[a-z-]+==\d[\w.+]*", line) for line in found)
    assert len([line for line in found if line.startswith("tensorflow")]) == 1
    assert {line.split("==")[0] for line in found} >= {"mlflow", "keras", "pillow", "numpy", "pandas"}
