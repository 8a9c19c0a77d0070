"""What holds the house together: names, imports, locks, the paths that documents name."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TRACKED = subprocess.run(
    ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
)
FILES = [ROOT / name for name in TRACKED.stdout.splitlines() if (ROOT / name).is_file()]
PYTHON = [path for path in FILES if path.suffix == ".py"]


def test_the_folder_mlflow_holds_no_python() -> None:
    assert list((ROOT / "mlflow").iterdir())
    assert not list((ROOT / "mlflow").rglob("*.py")), "a module there would shadow the installed package"


def test_mlflow_is_the_installed_package_from_the_root() -> None:
    code = "import mlflow, sys; print(mlflow.__file__)"
    for how in (["-c", code], ["-m", "flows.cli", "--help"]):
        done = subprocess.run([sys.executable, *how], cwd=ROOT, capture_output=True, text=True, check=True)
        if how[0] == "-c":
            assert "site-packages" in done.stdout


def test_no_module_is_named_like_a_dependency() -> None:
    installed = set(packages_distributions()) - {"flows", "tasks"}
    ours = {path.stem for folder in ("flows", "tasks") for path in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert ours
    assert ours & (installed | set(sys.stdlib_module_names)) == set(), "Prefect's script loader puts their folder first"


def test_only_flows_and_tasks_are_packages() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert config["tool"]["setuptools"]["packages"]["find"]["include"] == ["flows*", "tasks*"]
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == {"flows", "tasks"}


def test_the_command_is_installed() -> None:
    (found,) = [entry for entry in entry_points(group="console_scripts") if entry.name == "harvestman"]
    assert found.value == "flows.cli:main"


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['harvestman', '--help']\n"
        "from flows.cli import main\n"
        "try: main()\nexcept SystemExit as e: assert not e.code\n"
        "heavy = {'prefect', 'mlflow', 'tensorflow', 'keras', 'keras_tuner', 'polars', 'numba', 'aiohttp'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_scraping_worker_loads_no_tensorflow() -> None:
    code = "import sys, flows.pipeline; print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-gpu.lock"])
def test_locks_hold_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", text, flags=re.MULTILINE)
    assert len(pinned) > 100
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=\S)", text.strip()))


def test_the_locks_agree_and_satisfy_the_declared_floor() -> None:
    def versions(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ]+)", (ROOT / name).read_text(), flags=re.MULTILINE))

    runtime, dev, gpu = (versions(f"requirements{kind}.lock") for kind in ("", "-dev", "-gpu"))
    assert {name: dev[name] for name in runtime} == runtime
    shared = set(runtime) & set(gpu)
    assert {name: gpu[name] for name in shared} == {name: runtime[name] for name in shared}
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = {re.split(r"[<>=\[; ]", item)[0].lower() for item in config["project"]["dependencies"]}
    assert declared <= {name.lower() for name in runtime}
    assert "tensorflow" in gpu
    assert "tensorflow-cpu" in runtime


def test_no_registry_address_and_no_path_of_a_machine() -> None:
    wrong = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|deb\.debian|/root/|/work/(main|shared)|/home/[a-z]")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".lock", ".env", ""}
        and path.name != Path(__file__).name
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if wrong.search(line)
    ]
    assert found == []


def test_modules_stay_under_300_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PYTHON if "tests" not in path.parts
    }
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


@pytest.mark.parametrize(
    "document", ["README.md", *(str(p.relative_to(ROOT)) for p in sorted((ROOT / "docs").rglob("*.md")))]
)
def test_every_path_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    named = re.findall(r"`((?:flows|tasks|deploy|recipes|benchmarks|docs|mlflow|tests)/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_names_what_to_open_for_each_change() -> None:
    text = (ROOT / "README.md").read_text()
    table = text[text.index("| to change") :].split("\n\n")[0]
    paths = re.findall(r"`([\w./-]+)`", table)
    assert len(paths) >= 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    drawn = re.findall(r"^([\w./-]+/?)  +\S", text[text.index("```\npyproject") :].split("```")[1], flags=re.MULTILINE)
    assert {name for name in drawn if not (ROOT / name).exists()} == set()
    assert {"flows/", "tasks/", "deploy/", "tests/", "mlflow/", "recipes/"} <= set(drawn)
