"""Where a study begins and ends: its default configuration, its budget of time."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from augean.config.run_id import neutral_values
from augean.config.sweeper_options import read_options
from augean.errors import ConfigError
from augean.store.sweep_record import read_records
from augean.sweeps.budget import read_timeout
from augean.sweeps.composition import compose_sweep
from augean.sweeps.plan import plan_file
from augean.sweeps.studies.study import DEFAULT, IDENTITY
from augean.sweeps.studies.trial import RUN, SECONDS, trained_seconds
from commands import augean, train
from conftest import TINY
from fake_studies import open_study, run_trials

SETTING = [item for item in TINY if "optimizer.lr" not in item and "epochs" not in item]


# The default configuration


def plan(*words: str) -> Any:
    return plan_file("config", ["dataset=digits", "hydra.sweeper.n_trials=2", *words])


def test_the_default_configuration_is_found_among_choices_and_ranges() -> None:
    planned = plan(
        "optimizer.lr=tag(log,interval(1e-3,1))", "activation=relu,leaky_relu",
        "width.channels=range(8,73,8)", "optimizer.momentum=null,0.9", "model.stem=null,cifar",
    )  # fmt: skip
    assert planned.remark is None
    assert planned.default == {
        "optimizer.lr": planned.config.optimizer.lr,
        "activation": "leaky_relu",
        "width.channels": 64,
        "optimizer.momentum": 0.9 if planned.config.optimizer.momentum == 0.9 else "null",
        "model.stem": planned.config.model.stem or "null",
    }


def test_what_all_trials_share_is_part_of_the_default() -> None:
    planned = plan(
        "optimizer=adam", "optimizer.lr=tag(log,interval(1e-5,1))", "activation=elu,relu"
    )
    assert planned.default is None
    assert "activation=leaky_relu is not in elu,relu" in planned.remark
    planned = plan("activation=elu", "optimizer.lr=interval(0.02,0.03)", "optimizer.lr=0.02,0.03")
    assert "optimizer.lr=0.1 is not in 0.02,0.03" in planned.remark


def test_a_study_begins_with_its_default_once(tmp_path: Path) -> None:
    # A process that was killed before it wrote down what the study is has queued it already.
    open_study(tmp_path, default={"x": 0.25}).study.set_user_attr(IDENTITY, None)
    study = open_study(tmp_path, default={"x": 0.25})
    points = run_trials(study)
    assert points[0] == 0.25
    assert len(points) == 3
    assert 0.25 not in points[1:]
    assert [DEFAULT in trial.user_attrs for trial in study.trials()] == [True, False, False]


def test_a_study_begun_without_a_default_goes_on_without(tmp_path: Path) -> None:
    open_study(tmp_path)
    study = open_study(tmp_path, default={"x": 0.25})
    assert not study.is_begun_here
    assert 0.25 not in run_trials(study)


def test_the_default_of_a_dead_worker_stays_the_default(tmp_path: Path) -> None:
    study = open_study(tmp_path, default={"x": 0.25})
    with study.working():
        assert study.next() is not None
    study = open_study(tmp_path, default={"x": 0.25})
    assert 0.25 in run_trials(study)
    number = [trial.params["x"] for trial in study.trials()].index(0.25, 1)
    assert DEFAULT in study.trials()[number].user_attrs


# The budget of time


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, math.inf),
        (90, 90),
        (0.5, 0.5),
        ("90", 90),
        ("90s", 90),
        ("2min", 120),
        ("1.5h", 5400),
    ],
)
def test_a_time_is_seconds_or_has_a_unit(value: Any, seconds: float) -> None:
    assert read_timeout(value) == seconds


@pytest.mark.parametrize("value", [0, -1, "0h", "3runs", "1gpuh", "soon", "٣", True, [1]])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"timeout=.*: must be seconds above 0"):
        read_timeout(value)


def test_a_study_ends_with_the_trial_that_spends_its_time(tmp_path: Path) -> None:
    study = open_study(tmp_path, max_seconds=15.0)
    assert len(run_trials(study, seconds=10.0)) == 2
    assert study.is_complete()
    # The same budget again adds nothing; a larger one goes on.
    assert run_trials(open_study(tmp_path, max_seconds=15.0)) == []
    assert len(run_trials(open_study(tmp_path, max_seconds=25.0))) == 1


def test_each_run_counts_once_and_old_trials_by_their_runs_metrics(tmp_path: Path) -> None:
    def trial(state: str, attributes: dict[str, Any]) -> optuna.trial.FrozenTrial:
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState[state],
            value=0.5 if state == "COMPLETE" else None,
            user_attrs=attributes,
        )

    for name in "bcd":
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_text("epoch,seconds\n1,1.5\n2,1.0\n")
    run = {"id": "a", "run": "a", "seed": 0}
    trials = [
        trial("COMPLETE", {"augean:run": run, SECONDS: 2.0}),
        trial("COMPLETE", {"augean:run": run, SECONDS: 2.0}),
        trial("COMPLETE", {"augean:run": {**run, "id": "b", "run": "b"}}),
        # A worker that died noted no seconds, but its run's epochs were trained.
        trial("FAIL", {"augean:run": {**run, "id": "c", "run": "c"}}),
        trial("COMPLETE", {"augean:run": {**run, "id": "c", "run": "c"}, SECONDS: 4.0}),
        trial("RUNNING", {"augean:run": {**run, "id": "d", "run": "d"}}),
    ]
    assert trained_seconds(trials, tmp_path) == 2.0 + 2.5 + 4.0


def test_a_key_that_a_release_lacked_is_what_it_is_by_default(tmp_path: Path) -> None:
    base = {"optimizer.lr": 0.1}
    open_study(tmp_path, base=base)
    neutral = neutral_values()["optimizer.head_lr_factor"]
    study = open_study(tmp_path, base={**base, "optimizer.head_lr_factor": neutral})
    assert len(run_trials(study)) == 3
    with pytest.raises(ConfigError, match=r"optimizer.head_lr_factor: was 1.0, is 2.0"):
        open_study(tmp_path, base={**base, "optimizer.head_lr_factor": 2.0})


def test_a_trial_that_waits_to_be_resumed_is_not_given_up(tmp_path: Path) -> None:
    run = {"id": "0123456789", "run": "a-0123456789", "seed": 0}
    study = open_study(tmp_path)
    with study.working():
        trial = study.next()
        assert trial is not None
        trial.set_user_attr(RUN, run)
    later = open_study(tmp_path)
    with later.working():
        later._requeue_dead()
        assert [job.state for job in later.jobs()] == ["fail", "waiting"]
        assert {job.id for job in later.jobs()} == {run["id"]}


@pytest.mark.parametrize("options", [{"max_seconds": 5.0}, {"points": [{"x": 0.25}]}])
def test_a_begun_trial_is_run_although_the_study_has_spent_what_it_had(
    tmp_path: Path, options: Any
) -> None:
    study = open_study(tmp_path, default={"x": 0.25}, **options)
    other = open_study(tmp_path, default={"x": 0.25}, **options)
    with other.working():
        with study.working():
            assert study.next() is not None  # its worker dies
            trial = other.study.ask({})
            trial.suggest_float("x", 0.25, 0.25)
            trial.set_user_attr(SECONDS, 6.0)
            other.study.tell(trial, 0.5)
        assert not other.is_complete()
    later = open_study(tmp_path, default={"x": 0.25}, **options)
    assert run_trials(later) == [0.25]
    assert later.is_complete()
    assert later.study.trials[-1].user_attrs[DEFAULT]
    assert run_trials(later) == []


def test_a_spent_budget_ends_a_study_with_a_winner(tmp_path: Path) -> None:
    arguments = [
        "-m", "optimizer.lr=tag(log,interval(1e-3,1))", *SETTING, "trainer.epochs=1",
        "hydra.sweeper.n_trials=50", "hydra.sweeper.timeout=0.001", f"runtime.outputs={tmp_path}",
    ]  # fmt: skip
    for _ in range(2):
        done = train(*arguments)
        assert done.returncode == 0, done.stderr
        (record,), _ = read_records(tmp_path)
        assert len(record.trials) == 1
        assert record.winner
        assert record.describe_trials() == "1 trial in 0.001s of training"
    status = augean("status", "--outputs", str(tmp_path)).stdout
    assert "to go on" not in status
    assert "1 trial in 0.001s of training done, its time is spent" in status
    # The default configuration comes first: no sampler had a part in it.
    assert record.trials[0].values == {"optimizer.lr": 0.1}


def test_a_space_without_held_out_images_is_refused_before_any_work(tmp_path: Path) -> None:
    words = [item for item in SETTING if "num_val" not in item]
    search = "optimizer.lr=0.1,0.2"
    chosen = "a study would choose the smallest validation set"
    for values, message in (
        ([search, "dataset.num_val=0"], "=0: a study chooses by validation accuracy"),
        (["dataset.num_val=40,20"], f"=40,20: {chosen}"),
        (["dataset.num_val=interval(0,40)"], f"=interval(0,40): {chosen}"),
    ):
        done = train(
            "-m", *values, *words, "schedule=cosine", "hydra.sweeper.n_trials=2",
            f"runtime.outputs={tmp_path}",
        )  # fmt: skip
        assert done.returncode == 1
        assert f"dataset.num_val{message}" in done.stderr
        assert not list(tmp_path.iterdir())


def test_tpe_has_optunas_own_defaults_which_a_user_can_change() -> None:
    words = ["activation=relu,elu", "hydra.sweeper.n_trials=2"]
    for extra, expected in (([], True), (["hydra.sweeper.sampler.constant_liar=false"], False)):
        with compose_sweep("config", [*words, *extra]) as composition:
            sampler = read_options(composition.master).sweeper.sampler
            assert sampler["multivariate"] is True
            assert sampler["constant_liar"] is expected
