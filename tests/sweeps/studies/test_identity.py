"""What a study is stays the same from its first trial to its last: its setting and its code."""

import json
import os
import stat
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import distribution_to_json

from augean.config.code_digest import module_code
from augean.config.run_id import code_identity
from augean.config.schema import RuntimeConfig
from augean.errors import ConfigError, SetupError
from augean.sweeps.composition import parse_search_space
from augean.sweeps.studies.setup import displayed_value
from augean.sweeps.workers import keep_passwords, run_worker
from commands import train
from conftest import TINY, composed
from fake_studies import open_study

PASSWORD = "hunter2"


def test_edited_own_code_is_another_study(tmp_path: Path) -> None:
    open_study(tmp_path, code={"code of mine.Act": "1"})
    open_study(tmp_path, code={"code of mine.Act": "1"})
    with pytest.raises(ConfigError, match=r"code of mine.Act: was 1, is 2"):
        open_study(tmp_path, code={"code of mine.Act": "2"})


def test_studies_without_digests_of_code_go_on(tmp_path: Path) -> None:
    open_study(tmp_path)
    study = open_study(tmp_path, code={"code of mine.Act": "1"})
    assert not study.is_begun_here


@pytest.mark.parametrize(
    "values",
    [
        "sgd,adam",
        "0.1,0.01",
        "interval(0.001,0.1)",
        "tag(log,interval(0.001,0.1))",
        "range(8,40,8)",
        "range(0.1,0.4,0.1)",
        "tag(log,interval(1,64))",
    ],
)
def test_a_space_is_shown_as_an_override_writes_it(values: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"width.channels={values}"])
    (distribution,) = parse_search_space([override]).distributions.values()
    text = distribution_to_json(distribution)
    assert displayed_value("space of width.channels", text) == values
    assert displayed_value("space of width.channels", "absent") == "absent"


def test_a_worker_need_not_know_the_code_of_the_whole_space(tmp_path: Path) -> None:
    open_study(tmp_path, code={"code of mine.Act": "1", "code of mine.Other": "2"})
    assert not open_study(tmp_path, code={"code of mine.Act": "1"}).is_begun_here


def test_own_classes_and_listed_files_are_in_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_acts.py").write_text("import torch\nclass Act(torch.nn.ReLU):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = composed(*TINY)
    activation = replace(config.activation, _target_="my_acts.Act")
    listed = tmp_path / "table.json"
    listed.write_text("{}")
    config = replace(config, activation=activation, code_files=[str(listed)])
    digests = code_identity(config)
    assert set(digests) == {"code of my_acts.Act", f"content of {listed}"}
    module_code.cache_clear()
    (tmp_path / "my_acts.py").write_text("import torch\nclass Act(torch.nn.ELU):\n    pass\n")
    edited = code_identity(config)
    assert edited["code of my_acts.Act"] != digests["code of my_acts.Act"]
    assert code_identity(composed(*TINY)) == {}


# Passwords of a command that waits in SLURM's queue


def test_a_command_with_a_password_is_kept_from_other_users(tmp_path: Path) -> None:
    file = tmp_path / "studies" / "mine.command"
    words = ["train.py", f"hydra.sweeper.storage=postgresql://me:{PASSWORD}@host/studies"]
    assert keep_passwords(words, file) == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()) == words
    plain = tmp_path / "plain.command"
    assert keep_passwords(["train.py", "seed=0"], plain) is None
    assert not plain.exists()


def test_a_worker_runs_the_command_with_its_password(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"import sys; open({str(tmp_path / 'seen')!r}, 'w').write(sys.argv[1])")
    word = f"hydra.job.env_set.PGPASSWORD={PASSWORD}"
    file = keep_passwords([str(script), word], tmp_path / "command")
    hidden = [str(script), "hydra.job.env_set.PGPASSWORD=***"]
    runtime = RuntimeConfig(outputs=str(tmp_path))
    run_worker(hidden, runtime, since=0.0, command_file=file)
    assert (tmp_path / "seen").read_text() == word
    with pytest.raises(SetupError, match="submit the study again"):
        run_worker(hidden, runtime, since=0.0, command_file=tmp_path / "gone")


@pytest.fixture
def _sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SLURM that takes every array and never runs it."""
    pytest.importorskip("submitit")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, answer in (("sbatch", "Submitted batch job 7"), ("squeue", ""), ("srun", "")):
        (folder / name).write_text(f"#!/bin/sh\necho {answer}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("_sbatch")
def test_no_file_of_a_submitted_study_shows_its_password(tmp_path: Path) -> None:
    outputs = tmp_path / "out"
    done: Any = train(
        "-m", "activation=relu,elu", *TINY, "hydra.sweeper.n_trials=2", "launcher=slurm",
        f"+hydra.job.env_set.PGPASSWORD={PASSWORD}", f"runtime.outputs={outputs}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 submitted as SLURM array 7" in done.stdout
    with_password = []
    for path in outputs.rglob("*"):
        if path.is_file() and PASSWORD.encode() in path.read_bytes():
            with_password.append(path)
    (file,) = with_password
    assert file.suffix == ".command"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD in " ".join(json.loads(file.read_text()))
    assert list((outputs / "slurm").glob("*.pkl")), sys.path
