"""Studies: exact budgets, continued by the same command, survived by their trials, chosen without
the test set.
"""

import importlib
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from augean.analysis.freshness import changed_studies
from augean.errors import AugeanError, ConfigError, RunLocked
from augean.store.run_directory import run_state
from augean.store.sweep_record import SweepJob, SweepRecord, read_records
from augean.sweeps.composition import compose_sweep, parse_search_space
from augean.sweeps.plan import plan_file
from augean.sweeps.points import read_finished_study, refuse_other_choices
from augean.sweeps.studies.sampler import SearchSpace, make_sampler
from augean.sweeps.studies.setup import StudySetup
from augean.sweeps.studies.storage import open_storage
from augean.sweeps.studies.study import Study
from augean.sweeps.studies.trial import RUN
from augean.sweeps.workers import QUIET, SUPERVISOR, command_line
from commands import augean, train, train_command
from conftest import ROOT, TINY
from waiting import wait_for

SPACE = ["-m", "optimizer.lr=tag(log,interval(1e-3,1))", "activation=relu,elu"]
STUDY = [*SPACE, *[item for item in TINY if "optimizer.lr" not in item], "trainer.epochs=2"]

NEEDS_MOMENTUM = ["optimizer=sgd", "optimizer.arguments.nesterov=true"]
"""A trial without momentum fails when its optimizer is built, and not before."""


def only_record(outputs: Path) -> SweepRecord:
    found, problems = read_records(outputs)
    assert not problems
    assert len(found) == 1
    return found[0]


def load(storage: str) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=open_storage(storage))


def load_study(outputs: Path) -> optuna.Study:
    (path,) = (outputs / "studies").glob("*.journal")
    return load(str(path))


def trial_states(outputs: Path) -> Counter[str]:
    return Counter(trial.state.name for trial in load_study(outputs).trials)


def test_a_study_has_exactly_its_trials_and_the_same_command_adds_none(tmp_path: Path) -> None:
    arguments = [
        *STUDY,
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.final_seeds=2",
        f"runtime.outputs={tmp_path}",
    ]
    first = train(*arguments)
    assert first.returncode == 0, first.stderr
    assert trial_states(tmp_path) == Counter(COMPLETE=4)
    record = only_record(tmp_path)
    assert (record.kind, record.num_trials) == ("study", 4)
    assert record.space == {"optimizer.lr": "tag(log,interval(1e-3,1))", "activation": "relu,elu"}
    trials = [job for job in record.jobs if job.trial is not None]
    winners = [job for job in record.jobs if job.trial is None]
    assert [job.trial for job in trials] == [0, 1, 2, 3]
    assert [(job.row, job.seed) for job in winners] == [("winner", 0), ("winner", 1)]
    best = max(trials, key=lambda job: (job.score or 0.0, -(job.trial or 0)))
    assert record.winner[-2:] == [f"{key}={value}" for key, value in best.values.items()]
    # The winner's first seed is the trial's own run: not trained again.
    assert winners[0].id == best.id
    for job in trials:
        summary = json.loads((tmp_path / "runs" / job.run / "summary.json").read_text())
        assert job.score == summary["val_accuracy"]
    status = augean("status", "--outputs", str(tmp_path))
    assert "4 of 4 trials done" in status.stdout
    assert f"best validation {best.score:.2%} by trial {best.trial}, 2 finished" in status.stdout
    # Its points are not known before, so nothing is compared with those of a new launch.
    assert augean("status", *arguments).stdout == status.stdout
    second = train(*arguments)
    assert second.returncode == 0, second.stderr
    assert "4 trials, 4 of them done already" in second.stdout
    assert trial_states(tmp_path) == Counter(COMPLETE=4)
    more = train(*[item.replace("n_trials=4", "n_trials=6") for item in arguments])
    assert more.returncode == 0, more.stderr
    assert trial_states(tmp_path) == Counter(COMPLETE=6)
    assert only_record(tmp_path).num_trials == 6


def test_the_sampler_of_a_grid_visits_every_point_once(tmp_path: Path) -> None:
    arguments = [
        "-m", "optimizer.lr=0.01,0.1", "trainer.batch_size=range(20,50,10)",
        *[item for item in TINY if "optimizer.lr" not in item], "trainer.epochs=1",
        "hydra/sweeper/sampler=grid", f"runtime.outputs={tmp_path}",
    ]  # fmt: skip
    arguments.remove("trainer.batch_size=32")
    for number in (4, 100):
        done = train(*arguments, f"hydra.sweeper.n_trials={number}")
        assert done.returncode == 0, done.stderr
    points = [tuple(trial.params.values()) for trial in load_study(tmp_path).trials]
    expected = [(rate, size) for rate in (0.01, 0.1) for size in (20, 30, 40)]
    assert sorted(points) == expected
    assert only_record(tmp_path).num_trials == 6


def test_a_study_over_a_grid_ends_although_a_point_of_it_is_refused(tmp_path: Path) -> None:
    arguments = [
        "-m", "dataset=digits", "width=w8", "trainer.epochs=1", "dataset.num_train=64",
        "dataset.num_val=100", "trainer.precision=fp32", "runtime.progress=none",
        "augmentation.crop_padding=2,0", "augmentation.crop_area=1.0,0.5",
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.sampler.seed=3", "hydra.sweeper.n_trials=4", f"runtime.outputs={tmp_path}",
    ]  # fmt: skip
    for _ in range(2):
        done = train(*arguments)
        assert done.returncode == 0, done.stderr
        assert "3 complete, 1 fail" in done.stdout
    assert trial_states(tmp_path) == Counter(COMPLETE=3, FAIL=1)
    assert only_record(tmp_path).winner
    assert "to go on" not in augean("status", "--outputs", str(tmp_path)).stdout


def test_the_steps_of_a_range_are_decimal_in_a_study_as_in_a_grid(tmp_path: Path) -> None:
    words = ["dataset=digits", "++optimizer.lr=range(0.1,0.35,step=0.1)"]
    grid = plan_file("config", words)
    study = plan_file("config", [*words, "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=3"])
    assert [job.config.optimizer.lr for job in grid.jobs] == [0.1, 0.2, 0.3]
    assert study.space.points() == [{"optimizer.lr": rate} for rate in (0.1, 0.2, 0.3)]
    # What Optuna's own samplers propose.
    assert study.space.assignments({"optimizer.lr": 0.1 + 0.2}) == ["++optimizer.lr=0.3"]


@pytest.mark.parametrize(
    ("word", "choices"),
    [
        ("activation=glob(*elu)", ("elu", "gelu", "leaky_relu", "relu")),
        ("activation=shuffle(relu,elu)", ("relu", "elu")),
        ("model.stem=null,cifar", ("null", "cifar")),
        ("dataset.mean=[0,0,0],[1,1,1]", ("[0,0,0]", "[1,1,1]")),
        ("optimizer.momentum=0.5,0.9", (0.5, 0.9)),
    ],
)
def test_what_a_grid_takes_as_a_list_is_a_list_of_choices_in_a_study(
    word: str, choices: tuple[object, ...]
) -> None:
    parsed = OverridesParser.create(config_loader=_loader()).parse_overrides([word])
    (distribution,) = parse_search_space(parsed).distributions.values()
    assert isinstance(distribution, optuna.distributions.CategoricalDistribution)
    assert distribution.choices == choices


def test_an_interval_of_a_whole_number_is_one_of_whole_numbers() -> None:
    for word in ("width.channels=interval(4,8)", "width.channels=int(interval(4,8))"):
        space = parse_search_space(OverridesParser.create().parse_overrides([word]))
        expected = optuna.distributions.IntDistribution(4, 8)
        assert space.distributions == {"width.channels": expected}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=range(3)"], "seed=range(3): a study would choose the luckiest seed"),
        (["++seed=0,1"], "hydra.sweeper.final_seeds=3"),
        (["dataset.split_seed=0,1"], "a study would choose the luckiest seed"),
        (["hydra.sweeper.sampler=foo"], "There are cmaes, gp, grid"),
        (["hydra/sweeper/sampler=foo"], "There are cmaes, gp, grid"),
        (["hydra.sweeper.sampler=random"], "did you mean hydra/sweeper/sampler=random?"),
        (["hydra.sweeper.pruner=median"], "did you mean hydra/sweeper/pruner=median?"),
        (
            ["hydra/sweeper/pruner=percentile", "hydra.sweeper.pruner.percentile=200"],
            "hydra.sweeper.pruner: ",
        ),
        (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be at least 1"),
        (["hydra.sweeper.n_trials=2.5"], "hydra.sweeper.n_trials=2.5: must be a whole number"),
        (["hydra.sweeper.n_trials=1,2"], "takes one value"),
        (["hydra.sweeper.final_seeds=-1"], "must be at least 0"),
        (["hydra.sweeper.max_failures=-1"], "must be at least 0"),
        (["hydra.sweeper.deadline=60"], "There are ablate, confirm, custom_search_space"),
        (["hydra.sweeper.timeout=soon"], "hydra.sweeper.timeout=soon: must be seconds above 0"),
        (["hydra.sweeper.confirm.top=0"], "hydra.sweeper.confirm.top=0: must be at least 1"),
        (["+hydra.sweeper.n_trial=3"], "did you mean hydra.sweeper.n_trials?"),
        (["hydra.sweeper.study_name=a/b"], "hydra.sweeper.study_name=a/b: letters, digits"),
        (["activation=glob(zzz*)"], "the sweep is empty"),
        (["optimizer.lr=range(0.3,0.1)"], "the sweep is empty"),
    ],
)
def test_a_study_that_cannot_be_is_refused_and_leaves_nothing(
    tmp_path: Path, words: list[str], message: str
) -> None:
    base = ["-m", "dataset=digits", "activation=relu,elu", "hydra.sweeper.n_trials=2"]
    done = train(*base, *words, f"runtime.outputs={tmp_path}/outputs")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_a_study_has_one_name_and_counts_what_was_there_before(tmp_path: Path) -> None:
    arguments = [
        *STUDY, "hydra.sweeper.n_trials=2", "hydra.sweeper.final_seeds=1",
        "hydra.sweeper.study_name=s1", f"runtime.outputs={tmp_path}",
    ]  # fmt: skip
    first = train(*arguments)
    assert first.returncode == 0, first.stderr
    assert "1 finished, 0 diverged, 0 failed (0 were there before)" in first.stdout
    again = train(*arguments)
    assert "1 finished, 0 diverged, 0 failed (1 were there before)" in again.stdout
    assert only_record(tmp_path).name == "s1"
    status = augean("status", "s1", "--outputs", str(tmp_path))
    assert "2 of 2 trials done" in status.stdout
    target = tmp_path / "conf" / "best.yaml"
    promoted = augean("promote", "s1", "--outputs", str(tmp_path), "--to", str(target))
    assert promoted.returncode == 0, promoted.stderr
    # Neither the searched keys nor the seed are settings that a table must repeat.
    settings = [item for item in only_record(tmp_path).overrides if "optimizer.lr" not in item]
    for ours in (only_record(tmp_path).overrides, settings, ["seed=0,1", *settings]):
        read_finished_study(tmp_path, "study:s1", "--0123", ours)
    with pytest.raises(ConfigError, match=r"the study has .*, the table has width=w8;"):
        read_finished_study(tmp_path, "study:s1", "--0123", ["width=w8"])
    # Nor what its file chose, unless the winner chooses it.
    study = replace(only_record(tmp_path), choices={"model": "vgg_a", "activation": "selu"})
    refuse_other_choices("study:s1", study, {"model": "vgg_a", "activation": "relu"})
    with pytest.raises(ConfigError, match=r"tuned for model=vgg_a, .* has model=resnet18"):
        refuse_other_choices("study:s1", study, {"model": "resnet18"})
    # The study goes on in another folder, into which its own was copied.
    for folder in ("sweeps", "studies", "runs"):
        shutil.copytree(tmp_path / folder, tmp_path / "copy" / folder)
    words = [item for item in arguments if not item.startswith("runtime.outputs")]
    copied = train(*words, f"runtime.outputs={tmp_path}/copy")
    assert "1 finished, 0 diverged, 0 failed (1 were there before)" in copied.stdout, copied.stderr


def test_status_and_promote_take_the_trial_of_the_highest_score(tmp_path: Path) -> None:
    states = [("pruned", 0.99), ("complete", 0.5), ("fail", None), ("complete", 0.2)]
    states += [("pruned", 0.01), ("complete", 0.2)]
    jobs = []
    for number, (state, score) in enumerate(states):
        values = {"optimizer.lr": float(number)}
        jobs.append(
            SweepJob(
                id=f"{number:010}", run=f"run{number}", row=f"trial {number}", seed=0,
                trial=number, state=state, score=score, values=values,
            )
        )  # fmt: skip
    record = SweepRecord(
        name="tune", title="Tune", command="augean train", created="now", jobs=jobs, kind="study",
        num_trials=5, winner=["++optimizer.lr=1.0", "seed=0"],
    )  # fmt: skip
    record.write(tmp_path)
    status = augean("status", "--outputs", str(tmp_path))
    assert "50.00% by trial 1" in status.stdout
    target = tmp_path / "best.yaml"
    augean("promote", "tune", "--outputs", str(tmp_path), "--to", str(target))
    text = target.read_text()
    assert "trial 1 of 5" in text
    assert yaml.safe_load(text)["optimizer"] == {"lr": 1.0}
    # A file stands where the folder would be.
    below = target / "experiment" / "tuned.yaml"
    refused = augean("promote", "tune", "--outputs", str(tmp_path), "--to", str(below))
    assert refused.stderr.startswith(f"{below}: cannot make its folder (Not a directory)")
    assert "--to" in refused.stderr
    assert "runtime.outputs" not in refused.stderr


def _loader() -> Any:
    with compose_sweep("config", []) as composition:
        return composition.loader


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "sampler", ["tpe", "random", "cmaes", "nsgaii", "nsgaiii", "gp", "qmc", "grid"]
)
def test_every_sampler_of_the_plugin_asks_for_trials(tmp_path: Path, sampler: str) -> None:
    importlib.import_module("hydra_plugins.hydra_optuna_sweeper.config")  # stores the samplers
    node = ConfigStore.instance().load(f"hydra/sweeper/sampler/{sampler}.yaml").node
    options = OmegaConf.to_container(OmegaConf.create(node))
    assert isinstance(options, dict)
    numbers = optuna.distributions.FloatDistribution(0, 1, step=0.5 if sampler == "grid" else None)
    space = {"x": numbers, "y": optuna.distributions.CategoricalDistribution(("a", "b"))}
    points = SearchSpace(space).points() if sampler == "grid" else None
    setup = StudySetup("mine", f"{tmp_path}/mine.journal", space, {}, 4, {}, 0, points=points)
    study = Study(setup, tmp_path, partial(make_sampler, options, space))
    with study.working():
        for number in range(4):
            trial = study.next()
            assert trial is not None
            study.study.tell(trial, number / 4)
        assert study.next() is None


def test_a_seeded_sampler_never_replays_old_points(tmp_path: Path) -> None:
    for number in (2, 4):
        done = train(
            *STUDY,
            f"hydra.sweeper.n_trials={number}",
            "hydra.sweeper.sampler.seed=1",
            f"runtime.outputs={tmp_path}",
        )
        assert done.returncode == 0, done.stderr
    points = [tuple(trial.params.values()) for trial in load_study(tmp_path).trials]
    assert len(set(points)) == 4


def test_a_study_with_another_space_or_base_is_refused_with_the_difference(
    tmp_path: Path,
) -> None:
    common = [
        "hydra.sweeper.n_trials=1",
        "hydra.sweeper.study_name=mine",
        f"runtime.outputs={tmp_path}",
    ]
    assert train(*STUDY, *common).returncode == 0
    for change, message in (
        ("optimizer.lr=tag(log,interval(1e-2,1))", "space of optimizer.lr: was"),
        ("width.channels=8", "width.channels: was 4, is 8"),
    ):
        done = train(*STUDY, change, *common)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hydra.sweeper.n_trials=3", "seed=0"], "needs something to search"),
        (
            [*SPACE[1:], "hydra.sweeper.n_trials=3", "dataset.num_val=0", "schedule=cosine"],
            "chooses by validation",
        ),
        (
            [*SPACE[1:], "hydra.sweeper.n_trials=3", "hydra.sweeper.rows={a:[]}"],
            "leave hydra.sweeper.n_trials out",
        ),
        (
            [*SPACE[1:], "hydra.sweeper.n_trials=3", "hydra.sweeper.direction=minimize"],
            "direction=minimize: must be maximize, as",
        ),
        (SPACE[1:], "a grid needs a list of values"),
        (
            [*SPACE[1:], "hydra.sweeper.n_trials=3", "hydra/sweeper/sampler=grid"],
            "optimizer.lr needs a list of values",
        ),
        (
            [
                "trainer.epochs=range(1,1000000000)",
                "seed=0",
                "hydra.sweeper.n_trials=3",
                "hydra/sweeper/sampler=grid",
            ],
            "the space has 999,999,999 points",
        ),
    ],
)
def test_a_study_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = train("-m", "dataset=digits", *arguments, f"runtime.outputs={tmp_path}")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_trials_are_pruned_and_their_runs_can_be_resumed(tmp_path: Path) -> None:
    done = train(
        "-m", "optimizer.lr=tag(log,interval(1e-9,0.1))", "trainer.epochs=4",
        *[item for item in TINY if not item.startswith(("optimizer.lr", "trainer.epochs"))],
        "hydra.sweeper.n_trials=8", "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1", "hydra.sweeper.pruner.n_warmup_steps=0",
        "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=3",
        f"runtime.outputs={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    states = trial_states(tmp_path)
    assert states["PRUNED"] >= 1
    assert states["COMPLETE"] + states["PRUNED"] == 8
    record = only_record(tmp_path)
    pruned = next(job for job in record.jobs if job.state == "pruned")
    path = tmp_path / "runs" / pruned.run
    assert run_state(tmp_path, path, pruned.id) == "interrupted"
    assert (path / "checkpoint.pt").exists()
    assert not (path / "failure.txt").exists()
    again = train("-cp", str(path), "-cn", "config", f"runtime.outputs={tmp_path}")
    assert again.returncode == 0, again.stderr
    assert json.loads((path / "summary.json").read_text())["num_resumes"] == 1


def test_a_diverged_trial_has_the_worst_score_and_a_failed_one_does_not_count(
    tmp_path: Path,
) -> None:
    done = train(
        "-m", "optimizer.lr=1e18,0.01", "optimizer.momentum=0.0,0.5", *NEEDS_MOMENTUM,
        "model=vgg_a", "schedule=constant", *[item for item in TINY if "optimizer.lr" not in item],
        "hydra.sweeper.n_trials=3", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=0",
        "hydra.sweeper.max_failures=50", f"runtime.outputs={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    trials = load_study(tmp_path).trials
    assert sum(trial.state.name == "COMPLETE" for trial in trials) == 3
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert failed
    assert all(trial.params["optimizer.momentum"] == 0 for trial in failed)
    diverged = [
        trial
        for trial in trials
        if trial.params["optimizer.lr"] == "1e18" and trial.state.name == "COMPLETE"
    ]
    assert all(trial.value == 0.0 for trial in diverged)


def test_too_many_failures_stop_a_study(tmp_path: Path) -> None:
    done = train(
        "-m", "optimizer.lr=0.1,0.01", "optimizer.momentum=0", *NEEDS_MOMENTUM,
        *[item for item in TINY if "optimizer.lr" not in item], "hydra.sweeper.n_trials=3",
        "hydra.sweeper.max_failures=2", f"runtime.outputs={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 1
    assert "3 trials failed, more than hydra.sweeper.max_failures=2" in done.stderr
    assert "Nesterov momentum requires a momentum" in done.stderr


def test_a_study_that_every_trial_would_fail_at_is_refused_and_can_be_mended(
    tmp_path: Path,
) -> None:
    arguments = [
        "-m", "optimizer.lr=0.1,0.01", *[item for item in TINY if "optimizer.lr" not in item],
        "trainer.epochs=1", "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=mine",
        f"runtime.outputs={tmp_path}",
    ]  # fmt: skip
    refused = train(*arguments, "trainer.freeze=until stage7")
    assert refused.returncode == 1
    assert "trainer.freeze=until stage7: " in refused.stderr
    assert not list(tmp_path.iterdir())
    mended = train(*arguments, "trainer.freeze=until stages.0")
    assert mended.returncode == 0, mended.stderr


@pytest.mark.parametrize("choices", ["none,until stage7", "until stage7,none"])
def test_a_choice_that_is_refused_costs_one_trial_wherever_it_stands(
    choices: str, tmp_path: Path
) -> None:
    done = train(
        "-m", f"trainer.freeze={choices}", *TINY, "trainer.epochs=1", "hydra.sweeper.n_trials=2",
        "hydra/sweeper/sampler=grid", f"runtime.outputs={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert trial_states(tmp_path) == Counter(COMPLETE=1, FAIL=1)


def test_two_workers_keep_the_budget_and_share_no_trial(tmp_path: Path) -> None:
    done = train(
        *STUDY, "hydra.sweeper.n_trials=5", "runtime.workers=2", f"runtime.outputs={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    trials = load_study(tmp_path).trials
    assert Counter(trial.state.name for trial in trials) == Counter(COMPLETE=5)
    for job in only_record(tmp_path).jobs:
        assert (tmp_path / "runs" / job.run / "train.log").read_text().count("started on") == 1


def test_jobs_that_need_hydras_launcher_go_through_it(tmp_path: Path) -> None:
    done = train(
        "-m", "activation=choice('relu','elu')", *TINY, "trainer.epochs=1",
        "hydra.sweeper.n_trials=2", "hydra.sweeper.final_seeds=2",
        "+hydra.job.env_set.TORCH_SHOW_CPP_STACKTRACES=1", f"runtime.outputs={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert trial_states(tmp_path) == Counter(COMPLETE=2)
    assert "2 finished" in done.stdout
    assert (tmp_path / ".hydra").exists(), "Hydra's launcher makes this folder"


@pytest.mark.parametrize("told_after", range(1, 6))
def test_a_trial_that_its_job_tells_meanwhile_is_never_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told_after: int
) -> None:
    setup = StudySetup(
        name="mine",
        storage=f"{tmp_path}/mine.journal",
        space={"x": optuna.distributions.FloatDistribution(0, 1)},
        base={},
        num_trials=1,
        pruner={},
        max_failures=0,
    )
    study = Study(setup, tmp_path, lambda _: optuna.samplers.RandomSampler())
    with study.working():
        trial = study.next()
        assert trial is not None
        read, job, readings = study.study.get_trials, load(setup.storage), iter(range(1, 100))

        def read_and_tell(*arguments: Any, **options: Any) -> Any:
            found = read(*arguments, **options)
            if next(readings) == told_after:
                job.tell(trial.number, 0.5)
            return found

        monkeypatch.setattr(study.study, "get_trials", read_and_tell)
        with suppress(RunLocked):  # where it was told too late to be seen
            assert study.next() is None
    assert len(load(setup.storage).trials) == 1


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_the_trial_of_a_dead_worker_is_queued_again_and_resumed(
    tmp_path: Path, number: signal.Signals
) -> None:
    long = [*SPACE, *[item for item in TINY if "optimizer.lr" not in item], "trainer.epochs=20"]
    arguments = [*long, "hydra.sweeper.n_trials=2", f"runtime.outputs={tmp_path}"]
    process = subprocess.Popen(
        train_command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    wait_for(lambda: list(tmp_path.glob("runs/*/checkpoint.prev.pt")))
    process.send_signal(number)
    process.wait(timeout=60)
    assert trial_states(tmp_path)["RUNNING"] == 1
    done = train(*arguments)
    assert done.returncode == 0, done.stderr
    # The stopped trial has not failed: its point was tried again.
    assert "1 queued again, 2 complete" in done.stdout
    states = trial_states(tmp_path)
    assert states["RUNNING"] == states["WAITING"] == 0
    assert states["COMPLETE"] == 2
    first = next(trial for trial in load_study(tmp_path).trials if trial.state.name == "FAIL")
    summary = json.loads(
        (tmp_path / "runs" / first.user_attrs[RUN]["run"] / "summary.json").read_text()
    )
    assert summary["num_resumes"] == 1


def test_rows_and_ablations_need_no_product(tmp_path: Path) -> None:
    setting = [*TINY, "trainer.epochs=1", f"runtime.outputs={tmp_path}"]
    done = train(
        "-m",
        'hydra.sweeper.rows={plain:[],both:["activation=elu","optimizer=adam"]}',
        "seed=0,1",
        *setting,
    )
    assert done.returncode == 0, done.stderr
    record = only_record(tmp_path)
    assert [(job.row, job.seed) for job in record.jobs] == [
        ("plain", 0),
        ("both", 0),
        ("plain", 1),
        ("both", 1),
    ]
    done = train("-m", "hydra.sweeper.ablate={activation:[relu,elu],optimizer:[adam]}", *setting)
    assert done.returncode == 0, done.stderr
    assert "4 runs, 1 of them there already" in done.stdout
    other = next(item for item in read_records(tmp_path)[0] if item.name != record.name)
    assert [job.row for job in other.jobs] == [
        "base",
        "activation=relu",
        "activation=elu",
        "optimizer=adam",
    ]


def test_a_table_of_winners_names_every_rows_budget_and_space(tmp_path: Path) -> None:
    there, moved = tmp_path / "there", tmp_path / "moved"
    setting = [
        *[item for item in TINY if "optimizer.lr" not in item],
        "trainer.epochs=1",
        f"runtime.outputs={there}",
    ]
    early = train("-cd", "sweeps", "-cn", "table4_tuned", *setting)
    assert early.returncode == 1
    assert "study:tune_sgd has no record" in early.stderr
    for name in ("sgd", "adam", "adagrad", "rmsprop"):
        done = train("-cd", "sweeps", "-cn", f"tune_{name}", "hydra.sweeper.n_trials=2", *setting)
        assert done.returncode == 0, done.stderr
    there.rename(
        moved
    )  # the studies' records say where they ran, which is not where the table is to be made
    done = train("-cd", "sweeps", "-cn", "table4_tuned", *setting[:-1], f"runtime.outputs={moved}")
    assert done.returncode == 0, done.stderr
    assert not there.exists()
    table = next(item for item in read_records(moved)[0] if item.name.startswith("table4_tuned"))
    assert [job.row for job in table.jobs[:4]] == ["sgd", "adam", "adagrad", "rmsprop"]
    assert "Tuning of adam: 2 trials over optimizer.lr tag(log, interval(1e-5, 1e-1))" in str(
        table.note
    )
    assert table.states(moved) == Counter(finished=12)
    check_that_another_winner_is_noticed(table, moved)


def check_that_another_winner_is_noticed(table: SweepRecord, outputs: Path) -> None:
    adam = next(record for record in read_records(outputs)[0] if record.is_of("tune_adam"))
    assert changed_studies(table, outputs) == []
    worst = min(adam.trials, key=lambda job: job.score or 0.0)
    jobs = [replace(job, score=1.0) if job is worst else job for job in adam.jobs]
    replace(adam, jobs=jobs).write(outputs)
    assert changed_studies(table, outputs) == [adam.name]
    status = augean("status", "table4_tuned", "--outputs", str(outputs))
    assert f"the row of {adam.name} is outdated: another trial has won since" in status.stdout
    assert f"to train them anew: {table.command}" in status.stdout
    done = augean("report", "--outputs", str(outputs))
    assert done.returncode == 0, done.stderr
    page = (outputs / "report" / "report.md").read_text()
    assert f"another trial of {adam.name} has won since its row was planned" in page
    assert "This trains the outdated runs anew" in page


def test_a_promoted_winner_is_the_same_run_as_an_experiment(tmp_path: Path) -> None:
    place = [
        "runtime.threads=1",
        "runtime.allowed_packages=[strange]",
        f"runtime.outputs={tmp_path}/out",
    ]
    study = train(*STUDY, "hydra.sweeper.n_trials=2", "schedule=cosine", *place)
    assert study.returncode == 0, study.stderr
    record = only_record(tmp_path / "out")
    evil = "Winner\nruntime: {allowed_packages: [os]}"
    replace(record, title=evil).write(tmp_path / "out")
    target = tmp_path / "conf" / "experiment" / "mine.yaml"
    promote = ["promote", record.name, "--outputs", f"{tmp_path}/out", "--to", str(target)]
    done = augean(*promote)
    assert done.returncode == 0, done.stderr
    assert f"use it with -cd {tmp_path}/conf experiment=mine" in done.stdout
    assert f"of {record.num_trials}" in target.read_text()
    assert "runtime" not in yaml.safe_load(
        target.read_text()
    )  # neither this machine's folders nor a stranger's wish
    again = train(
        "experiment=mine", "--config-dir", str(tmp_path / "conf"), f"runtime.outputs={tmp_path}/out"
    )
    assert "already finished" in again.stdout, again.stderr
    refused = augean(*promote)
    assert refused.returncode == 1
    assert "exists" in refused.stderr


def test_missing_data_ends_a_study_at_once_and_costs_no_trial(tmp_path: Path) -> None:
    done = train(
        *SPACE,
        "runtime.device=cuda:99",
        "dataset=digits",
        "hydra.sweeper.n_trials=3",
        f"runtime.outputs={tmp_path}",
    )
    assert done.returncode == 1
    assert done.stderr.count("runtime.device=cuda:99: not available here") == 1
    assert trial_states(tmp_path) == Counter(RUNNING=1)  # queued again by the next command


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("nonsense", "cannot open the study's storage: Could not parse"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("postgresql+psycopg://nobody@127.0.0.1:9/none", "cannot open the study's storage"),
        ("mysql://nobody@127.0.0.1/none", "No module named 'MySQLdb'; for PostgreSQL"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_message(
    monkeypatch: pytest.MonkeyPatch, storage: str, message: str
) -> None:
    monkeypatch.setattr("augean.sweeps.studies.storage.PAUSE_SECONDS", 0.0)
    with pytest.raises(AugeanError, match=message):
        open_storage(storage)


def test_workers_without_a_shared_output_folder_are_refused(tmp_path: Path) -> None:
    common = [*STUDY, "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=mine"]
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/studies.db"
    first = train(*common, storage, f"runtime.outputs={tmp_path}/a")
    assert first.returncode == 0, first.stderr
    (tmp_path / "a").rename(tmp_path / "b")
    moved = train(*common, storage, f"runtime.outputs={tmp_path}/b")
    assert moved.returncode == 0, moved.stderr
    other = train(*common, storage, f"runtime.outputs={tmp_path}/c")
    assert other.returncode == 1
    assert "runtime.outputs: was" in other.stderr


def test_a_study_is_not_begun_anew_over_the_record_of_its_trials(tmp_path: Path) -> None:
    outputs = tmp_path / "out"
    common = [*STUDY, "hydra.sweeper.n_trials=1", f"runtime.outputs={outputs}"]
    storage = f"hydra.sweeper.storage=sqlite:///{tmp_path}/me:secret@studies.db"
    first = train(*common, storage)
    assert first.returncode == 0, first.stderr
    (record,) = outputs.glob("sweeps/*.json")
    before = record.read_bytes()
    # Another storage, and then none: either would train other trials, and replace those.
    for words in ([f"{storage}.other"], []):
        refused = train(*common, *words)
        assert refused.returncode == 1
        assert "has 1 trial of this study, which its storage lacks; give that" in refused.stderr
        assert "secret" not in refused.stderr
    assert record.read_bytes() == before
    assert not list(outputs.glob("studies/*"))
    assert not list(tmp_path.glob("*.other"))
    again = train(*common, storage)
    assert "1 of them done already" in again.stdout, again.stderr
    other = train(*common, "hydra.sweeper.study_name=other")
    assert other.returncode == 0, other.stderr
    # A journal that is gone, and brought back.
    (journal,) = outputs.glob("studies/*.journal")
    journal.rename(tmp_path / "elsewhere")
    gone = train(*common, "hydra.sweeper.study_name=other")
    assert "bring its journal back" in gone.stderr
    (tmp_path / "elsewhere").rename(journal)
    back = train(*common, "hydra.sweeper.study_name=other")
    assert "1 of them done already" in back.stdout, back.stderr


def test_a_storages_password_stays_out_of_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql+psycopg://me:se/c:ret@host/studies"
    monkeypatch.setattr(
        sys, "argv", ["train.py", "-cn", "tune_final", f"hydra.sweeper.storage={url}", "seed=0"]
    )
    command = (
        "python train.py -cn tune_final"
        " 'hydra.sweeper.storage=postgresql+psycopg://me:***@host/studies' seed=0"
    )
    assert command_line() == command


def test_a_workers_record_has_the_command_that_a_person_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["train.py", "-cn", "tune_final", "runtime.workers=2"]
    monkeypatch.setattr(sys, "argv", words)
    typed = command_line()
    monkeypatch.setattr(sys, "argv", [*words, QUIET])
    assert command_line() == f"{typed} {QUIET}"
    monkeypatch.setenv(SUPERVISOR, "1")
    assert command_line() == typed
