"""A function of the user's own searches what depends on other values of a trial."""

import sys
from pathlib import Path
from typing import Any

import optuna
import pytest

from augean.config.code_digest import module_code
from augean.errors import ConfigError
from augean.store.sweep_record import read_records
from augean.sweeps.plan import plan_file
from commands import augean, train
from conftest import TINY
from fake_studies import open_study, run_trials

SPACES = '''
import sys


def extend(config, trial):
    """Momentum for SGD alone."""
    assert config.dataset.name == "synthetic"
    if trial.params["optimizer"] == "sgd":
        trial.suggest_float("optimizer.momentum", 0.1, 0.9, step=0.1)
    else:
        trial.suggest_float("+optimizer.arguments.eps", 1e-9, 1e-7, log=True)


def seeds(config, trial):
    trial.suggest_int("seed", 0, 9)


def again(config, trial):
    trial.suggest_int("trainer.batch_size", 16, 32)


def broken(config, trial):
    raise KeyError("width")


def override(config, trial):
    trial.suggest_categorical("++optimizer", ["sgd"])


def twice(config, trial):
    trial.suggest_float("optimizer.momentum", 0, 0.5)
    trial.suggest_float("++optimizer.momentum", 0, 0.5)


def leave(config, trial):
    sys.exit()


def prints(config, trial):
    print("printed by a function")
    extend(config, trial)


def wrong(config, trial):
    trial.suggest_float("optimizer.momentun", 0, 0.5)


number = 3
'''
SETTING = [item for item in TINY if "epochs" not in item]
WORDS = [
    *SETTING, "trainer.epochs=1", "optimizer=sgd,adam", "hydra.sweeper.n_trials=6",
    "runtime.allowed_packages=[spaces_of_mine]",
]  # fmt: skip


@pytest.fixture
def spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "spaces_of_mine.py").write_text(SPACES)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "spaces_of_mine", raising=False)  # of another test
    module_code.cache_clear()
    return folder / "spaces_of_mine.py"


def plan(name: str, *words: str) -> Any:
    return plan_file("config", [*WORDS, f"hydra.sweeper.custom_search_space={name}", *words])


@pytest.mark.usefixtures("spaces")
def test_examples_show_the_branches_of_a_conditional_space() -> None:
    planned = plan("spaces_of_mine.extend")
    with_momentum = [job for job in planned.samples if "optimizer.momentum=" in job.row]
    with_eps = [job for job in planned.samples if "+optimizer.arguments.eps=" in job.row]
    assert with_momentum
    assert with_eps
    assert all(job.config.optimizer.name == "sgd" for job in with_momentum)
    assert all(1e-9 <= job.config.optimizer.arguments["eps"] <= 1e-7 for job in with_eps)
    assert planned.record.space["further values"] == "of spaces_of_mine.extend"
    assert "spaces_of_mine.extend decides" in planned.remark


@pytest.mark.usefixtures("spaces")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["spaces_of_mine.seeds"], "searches seed, which is the same in all trials"),
        (["spaces_of_mine.again"], "trainer.batch_size, which has a value already"),
        (["spaces_of_mine.override"], "++optimizer, but the study searches optimizer already"),
        (["spaces_of_mine.twice"], "++optimizer.momentum, but the study searches"),
        (["spaces_of_mine.leave"], "spaces_of_mine.leave: SystemExit"),
        (["spaces_of_mine.wrong"], "in a trial that hydra.sweeper.custom_search_space="),
        (["spaces_of_mine.broken"], "KeyError: 'width'"),
        (["spaces_of_mine.number"], "has no function number"),
        (["spaces_of_mine.gone"], "has no function gone"),
        (["extend"], "must be a dotted name"),
        (["os.system"], "os is not among the packages that you trust"),
        (["spaces_of_mine.extend", "hydra/sweeper/sampler=grid"], "choose another sampler"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_before_any_work(
    words: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        plan(*words)
    assert message in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 2


@pytest.mark.usefixtures("spaces")
def test_what_a_function_prints_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    plan("spaces_of_mine.prints")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "printed by a function" in captured.err


@pytest.mark.usefixtures("spaces")
def test_the_made_up_study_is_not_announced(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.set_verbosity(optuna.logging.INFO)  # as in a new process
    optuna.logging.enable_propagation()
    try:
        plan("spaces_of_mine.extend")
    finally:
        optuna.logging.disable_propagation()
    assert "A new study" not in caplog.text
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


def test_a_module_that_ends_the_process_is_refused(spaces: Path) -> None:
    spaces.write_text("import sys\nsys.exit()\n")
    with pytest.raises(ConfigError, match="cannot import spaces_of_mine: SystemExit"):
        plan("spaces_of_mine.extend")


def test_a_conditional_study_goes_on_and_notices_edited_code(tmp_path: Path, spaces: Path) -> None:
    outputs = tmp_path / "out"
    arguments = [
        "-m", *WORDS, "hydra.sweeper.custom_search_space=spaces_of_mine.extend",
        "hydra.sweeper.sampler.seed=0", f"runtime.outputs={outputs}",
    ]  # fmt: skip
    arguments.remove("optimizer.lr=0.05")
    arguments.append("optimizer.lr=0.01")
    for number in (4, 6):
        done = train(*arguments, f"hydra.sweeper.n_trials={number}")
        assert done.returncode == 0, done.stderr
    (record,), _ = read_records(outputs)
    assert [job.state for job in record.trials] == ["complete"] * 6
    for job in record.trials:
        own = (
            "optimizer.momentum" if job.values["optimizer"] == "sgd" else "+optimizer.arguments.eps"
        )
        assert set(job.values) == {"optimizer", own}
        momentum = job.values.get("optimizer.momentum", 0.1)
        assert momentum == round(momentum, 1), "steps are decimal numbers"
    best = record.best_trial()
    assert best is not None
    assert all(f"{key}={value}" in record.winner for key, value in best.values.items())
    target = tmp_path / "best.yaml"
    augean("promote", record.name, "--outputs", str(outputs), "--to", str(target))
    assert target.exists()
    spaces.write_text(SPACES.replace("0.9", "0.8"))
    module_code.cache_clear()
    done = train(*arguments, "hydra.sweeper.n_trials=7")
    assert done.returncode == 1
    assert "custom_search_space: was" in done.stderr


def test_a_function_that_fails_in_a_trial_blames_no_trial(tmp_path: Path) -> None:
    def fail(trial: optuna.Trial) -> None:
        raise ConfigError("hydra.sweeper.custom_search_space=mine.extend: KeyError")

    study = open_study(tmp_path, extend=fail)
    with study.working(), pytest.raises(ConfigError, match="KeyError"):
        study.next()
    assert len(run_trials(open_study(tmp_path))) == 3


def test_a_dead_workers_conditional_values_are_queued_again(tmp_path: Path) -> None:
    def extend(trial: optuna.Trial) -> None:
        if trial.params["x"] >= 0:
            trial.suggest_float("y", 0, 1)

    study = open_study(tmp_path, extend=extend)
    with study.working():
        trial = study.next()
        assert trial is not None
        values = dict(trial.params)
    study = open_study(tmp_path, extend=extend)
    with study.working():
        again = study.next()
        assert again is not None
        assert again.params == values
        assert set(values) == {"x", "y"}
