"""A study with the sampler of a grid visits each point once, whatever failed before."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from augean.errors import AugeanError
from augean.store.sweep_record import read_records
from augean.sweeps.studies.study import Study
from commands import train
from conftest import TINY
from fake_studies import open_study, run_trials

POINTS = [{"x": 0.25}, {"x": 0.5}, {"x": 0.75}]


def open_grid(folder: Path, **options: Any) -> Study:
    return open_study(folder, **{"points": POINTS, "max_failures": 10, **options})


def fail_next(study: Study) -> float:
    """Let the next trial fail for a reason that is not its config; return its point."""
    trial = study.next()
    assert trial is not None
    study.give_up(trial, RuntimeError("out of memory"))
    return float(trial.params["x"])


def test_a_point_that_failed_is_visited_by_the_next_command(tmp_path: Path) -> None:
    study = open_grid(tmp_path)
    with study.working():
        failed = fail_next(study)
    assert sorted([failed, *run_trials(study)]) == [0.25, 0.5, 0.75]
    # This command has tried it, so it ends without a winner.
    assert not study.is_complete()
    assert run_trials(study) == []
    later = open_grid(tmp_path, command=1.0)
    assert run_trials(later) == [failed]
    assert later.is_complete()


def test_a_study_that_lacks_a_failed_point_says_how_to_end_without_it(tmp_path: Path) -> None:
    study = open_grid(tmp_path)
    with study.working():
        fail_next(study)
        assert "n_trials" not in study.describe_way_on()
    run_trials(study)
    assert "1 failed point again; hydra.sweeper.n_trials=2 ends" in study.describe_way_on()
    assert open_grid(tmp_path, num_trials=2).is_complete()


def test_of_few_trials_none_goes_to_a_point_that_failed_before(tmp_path: Path) -> None:
    study = open_grid(tmp_path, num_trials=2)
    with study.working():
        failed = fail_next(study)
    later = open_grid(tmp_path, num_trials=2, command=1.0)
    points = run_trials(later)
    assert len(set(points)) == 2
    assert failed not in points
    assert later.is_complete()


def test_points_that_an_earlier_version_visited_twice_count_once(tmp_path: Path) -> None:
    study = open_grid(tmp_path)
    for _ in range(3):
        study.study.enqueue_trial({"x": 0.5})
        study.study.tell(study.study.ask(study.setup.space), 0.5)
    assert study.num_done() == 1
    assert sorted(run_trials(open_grid(tmp_path))) == [0.25, 0.75]


def test_workers_share_out_the_points(tmp_path: Path) -> None:
    study, other = open_grid(tmp_path), open_grid(tmp_path)
    with study.working(), other.working():
        taken = study.next()
        assert taken is not None
        assert fail_next(other) != taken.params["x"]
        study.study.tell(taken, 0.5)
        assert len(run_trials_of(other)) == 1
        # What failed in one worker is not tried again by another of the same command.
        assert study.next() is None


def run_trials_of(study: Study) -> list[float]:
    """Run all that are left by a worker that holds its lock already."""
    points = []
    while (trial := study.next()) is not None:
        points.append(float(trial.params["x"]))
        study.study.tell(trial, 0.5)
    return points


def test_a_point_that_its_job_refuses_counts_as_visited(tmp_path: Path) -> None:
    arguments = [
        "-m", "optimizer=sgd", "optimizer.momentum=0.0,0.5", "optimizer.arguments.nesterov=true",
        *TINY, "trainer.epochs=1", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=2",
        f"runtime.outputs={tmp_path}",
    ]  # fmt: skip
    for _ in range(2):
        done = train(*arguments)
        assert done.returncode == 0, done.stderr
        (record,), _ = read_records(tmp_path)
        assert Counter(job.state for job in record.trials) == {"fail": 1, "complete": 1}
        assert record.winner


def test_weights_that_are_gone_refuse_no_point_for_good(tmp_path: Path) -> None:
    first = train(*TINY, "trainer.epochs=1", f"runtime.outputs={tmp_path}")
    assert first.returncode == 0, first.stderr
    (weights,) = tmp_path.glob("runs/*/best.pt")
    id_ = weights.parent.name.rpartition("-")[2]
    arguments = [
        "-m", f"model.weights=run:{id_}", *TINY, "trainer.epochs=1", "optimizer.lr=0.01,0.02",
        "hydra/sweeper/sampler=grid", f"runtime.outputs={tmp_path}",
    ]  # fmt: skip
    arguments.remove("optimizer.lr=0.05")
    assert train(*arguments, "hydra.sweeper.n_trials=1").returncode == 0
    weights.rename(tmp_path / "kept.pt")
    assert train(*arguments, "hydra.sweeper.n_trials=2").returncode == 1
    (tmp_path / "kept.pt").rename(weights)
    again = train(*arguments, "hydra.sweeper.n_trials=2")
    assert again.returncode == 0, again.stderr
    (record,), _ = read_records(tmp_path)
    assert sum(job.state == "complete" for job in record.trials) == 2


def test_failures_of_earlier_commands_do_not_stop_a_study(tmp_path: Path) -> None:
    study = open_study(tmp_path, max_failures=0)
    with study.working():
        fail_next(study)
        with pytest.raises(AugeanError, match="1 trial failed"):
            study.next()
    later = open_study(tmp_path, max_failures=0, command=1.0)
    assert len(run_trials(later)) == 3
