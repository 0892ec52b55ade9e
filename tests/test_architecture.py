"""The shape of the code: which parts stay light, how large files and names of tests may grow.

Who may import whom is checked by import-linter (`make check`; contracts in pyproject.toml).
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

SRC = ROOT / "src" / "augean"
MAX_FILES = 17
"""Modules of one folder."""
MAX_LINES = 400
"""Lines of one file."""
LONGEST_NAME = 80
"""Characters of the name of one test."""
WITHOUT = {
    "config.run_id": {"torch", "hydra", "pandas"},
    "config.validation": {"torch", "hydra", "pandas"},
    "config.override_errors": {"torch", "hydra", "pandas"},
    "analysis.freshness": {"torch", "hydra", "pandas"},
    "store.archive.packing": {"torch", "hydra", "pandas", "omegaconf", "yaml"},
    "runs.execute": {"torch", "hydra", "pandas"},
    "runs.custom_loop": {"torch", "hydra", "pandas"},
    "datasets.image_folder": {"torch", "hydra", "pandas", "PIL"},
    "training.loggers": {"torch", "hydra", "pandas", "tensorboard", "wandb"},
    "training.trainer": {"hydra", "pandas"},
    "report": {"torch", "hydra"},
    "reproduction.results": {"torch", "hydra"},
    "sweeps.slurm": {"torch", "hydra", "pandas", "submitit"},
    "cli.main": {"torch", "hydra", "pandas", "omegaconf", "yaml", "numpy"},
    "sweeps.hydra_plugin": {"torch", "pandas", "optuna"},
    "sweeps.settle": {"torch", "pandas", "optuna"},
    "hydra_main": {"torch", "pandas", "optuna", "augean.sweeps"},
}
"""Packages that a module must not load, even indirectly."""


def sources() -> list[Path]:
    return sorted(SRC.rglob("*.py"))


@pytest.mark.parametrize("module", sorted(WITHOUT))
def test_what_must_stay_light_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, augean.{module}; print(' '.join(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not WITHOUT[module] & set(done.stdout.split())


def test_folders_and_files_stay_small() -> None:
    for folder in {path.parent for path in sources()}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MAX_FILES, f"{folder}: {len(modules)} files"
    for path in sources():
        number = len(path.read_text().splitlines())
        name = path.relative_to(SRC).as_posix()
        assert number <= MAX_LINES, f"{name}: {number} lines"


def test_names_of_tests_are_short_properties() -> None:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert len(node.name) <= LONGEST_NAME, f"{path}:{node.lineno}: {node.name}"
