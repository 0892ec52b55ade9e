"""Grids and sweep files, through the command that users type."""

import json
import logging
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from augean.config.compose import compose
from augean.config.labels import row_label
from augean.config.schema import Config
from augean.config.validation import parse_config
from augean.errors import AugeanError
from augean.runs.address import find_address
from augean.runs.session import note_failure
from augean.store.sweep_record import SweepJob, SweepRecord, read_records
from augean.sweeps.composition import Composition, without_hydra
from augean.sweeps.grid import account_for
from augean.sweeps.plan import plan_file
from augean.sweeps.sweep_overrides import expand
from commands import augean, train, train_command, train_process
from conftest import ROOT, TINY
from fake_runs import write_run
from waiting import wait_for

# A sweep file fixes nothing but its axes, so that the tiny setting can be given on the command
# line.
GRID = [*TINY, "trainer.epochs=2"]


def only_record(outputs: Path) -> SweepRecord:
    found, problems = read_records(outputs)
    assert not problems
    assert len(found) == 1
    return found[0]


def contents(outputs: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(outputs)): path.read_bytes()
        for path in sorted((outputs / "runs").rglob("*"))
        if path.is_file()
    }


def test_a_grid_leaves_a_record_named_by_its_keys_and_a_second_launch_trains_nothing(
    tmp_path: Path,
) -> None:
    arguments = ["-m", "optimizer=sgd,adam", "seed=0,1", *GRID, f"runtime.outputs={tmp_path}"]
    first = train(*arguments)
    assert first.returncode == 0, first.stderr
    assert "4 runs, 0 of them there already" in first.stdout
    record = only_record(tmp_path)
    assert record.name.startswith("optimizer--")
    assert [(job.row, job.seed) for job in record.jobs] == [
        ("sgd", 0),
        ("sgd", 1),
        ("adam", 0),
        ("adam", 1),
    ]
    assert record.states(tmp_path) == Counter(finished=4)
    before = contents(tmp_path)
    second = train(*arguments)
    assert "4 runs, 4 of them there already" in second.stdout
    assert contents(tmp_path) == before
    assert only_record(tmp_path).jobs == record.jobs
    status = augean("status", "--outputs", str(tmp_path))
    assert "4 finished" in status.stdout


def test_a_sweep_file_with_overrides_is_another_record_and_shares_runs(
    tmp_path: Path,
) -> None:
    common = [*GRID, "seed=0", f"runtime.outputs={tmp_path}"]
    table1 = train("-cd", "sweeps", "-cn", "table1_activation", *common)
    assert table1.returncode == 0, table1.stderr
    table2 = train("-cd", "sweeps", "-cn", "table2_weight_decay", *common)
    assert "4 runs, 1 of them there already" in table2.stdout
    found, _ = read_records(tmp_path)
    assert [record.name.split("--")[0] for record in found] == [
        "table1_activation",
        "table2_weight_decay",
    ]
    assert found[0].title == "Table 1: activation"
    assert found[0].figure == "Figure 2"
    assert found[0].reference["leaky_relu"] == {"test_accuracy": 88.67, "seconds": 1267}
    assert [job.row for job in found[1].jobs] == ["0", "0.0001", "0.0005", "0.001"]
    assert found[1].baseline == "0"
    assert set(found[1].reference) == {"0", "0.0001", "0.0005", "0.001"}
    assert len(list((tmp_path / "runs").iterdir())) == 6


def test_runtime_settings_do_not_make_another_record(tmp_path: Path) -> None:
    for extra in ("runtime.threads=1", "runtime.checkpoint_seconds=9"):
        train("-m", "seed=0,1", *GRID, f"runtime.outputs={tmp_path}", extra)
    assert only_record(tmp_path).name.startswith("runs--")


def test_a_baseline_that_is_no_row_is_refused_before_any_work(tmp_path: Path) -> None:
    done = train(
        "-cd",
        "sweeps",
        "-cn",
        "table3_width",
        "width=w8,w16",
        *GRID[:-1],
        f"runtime.outputs={tmp_path}",
    )
    assert done.returncode == 1
    assert "runtime.table.baseline=64: not among the rows" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "trainer.epochs=1,0"], "trainer.epochs=0: must be at least 1"),
        (["-m", "optimizer.lr=interval(0.1,1)"], "a grid needs a list of values"),
        (
            ["-m", "activation=relu,rellu"],
            "activation=rellu: no such option; did you mean activation=relu?",
        ),
        (["-cd", "sweeps", "-cn", "table9"], "-cn table9: no such sweep"),
        (["-m", "seed=range(0,0)"], "the sweep is empty"),
        (["-m", "width=16,32"], "width=16: takes the name of an option; did you mean width=w16?"),
        (["width=64"], "width=64: takes the name of an option; did you mean width=w64?"),
        (
            ["-m", "seed=0,1", "runtime.device=cuda:99"],
            "runtime.device=cuda:99: not available here",
        ),
        (
            ["-m", "seed=0,1", "dataset=image_folder", "dataset.name=photos"],
            "dataset.name=photos: cannot read",
        ),
        (
            ["-m", "seed=0,1", "runtime.table.row=optimizer.speed"],
            "optimizer.speed is not a key of the config",
        ),
    ],
)
def test_a_sweep_with_a_wrong_point_is_refused_before_any_work(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = train("dataset=digits", *arguments, f"runtime.outputs={tmp_path}")
    assert done.returncode != 0
    assert done.stderr.count(message) == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_output_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for arguments in ([], ["-m", "seed=0,1"]):
        done = train(*arguments, *GRID, f"runtime.outputs={tmp_path}/file")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert f"{tmp_path}/file" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_supervisor_stops_all_its_workers(
    tmp_path: Path, number: signal.Signals
) -> None:
    arguments = [
        "-m",
        "seed=range(0,6)",
        *TINY,
        "trainer.epochs=200",
        f"runtime.outputs={tmp_path}",
        "runtime.workers=3",
    ]
    sweep = subprocess.Popen(
        train_command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children")
    wait_for(lambda: len(children.read_text().split()) == 3)
    sweep.send_signal(number)
    _, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 128 + number, stderr
    assert only_record(tmp_path).states(tmp_path)["finished"] == 0


def test_a_job_that_fails_or_diverges_does_not_stop_the_others(tmp_path: Path) -> None:
    # Nesterov's form needs a momentum: that job fails; VGG at a huge rate diverges.
    done = train(
        "-m", "optimizer.momentum=0,0.5", "optimizer.lr=0.01,1e18",
        "optimizer.arguments.nesterov=true", "model=vgg_a", "schedule=constant",
        *[item for item in GRID if "optimizer.lr" not in item], f"runtime.outputs={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 finished, 1 diverged, 2 failed" in done.stdout
    assert "Nesterov momentum requires a momentum" in done.stderr
    assert only_record(tmp_path).states(tmp_path) == Counter(finished=1, diverged=1, failed=2)


def test_a_sweep_logs_the_first_line_of_a_long_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_file("config", [*GRID, "seed=0,1", f"runtime.outputs={tmp_path}"])
    for job in plan.jobs:
        job.address.path.mkdir(parents=True)
        note_failure(job.address.path, AugeanError("photos: cannot read\nExpected: train/"))
    monkeypatch.setattr(logging.getLogger("augean"), "propagate", True)
    with caplog.at_level(logging.WARNING, "augean"), pytest.raises(SystemExit, match="1"):
        account_for("photos", plan.jobs, num_before=0)
    assert "photos: cannot read" in caplog.text
    assert "Expected" not in caplog.text


def test_a_failure_dated_in_the_future_is_an_old_one(tmp_path: Path) -> None:
    arguments = ["seed=0", *GRID, f"runtime.outputs={tmp_path}"]
    failure = find_address(compose(arguments)).path / "failure.txt"
    failure.parent.mkdir(parents=True)
    failure.write_text("the clock was an hour fast\n")
    in_an_hour = time.time() + 3600
    os.utime(failure, (in_an_hour, in_an_hour))
    done = train("-m", *arguments)
    assert done.returncode == 0, done.stderr
    assert "1 finished" in done.stdout
    assert not failure.exists()


def test_what_is_wrong_in_one_row_is_refused_before_the_first_is_trained(
    tmp_path: Path,
) -> None:
    done = train(
        "-m", "optimizer=sgd,adam", "optimizer.momentum=0.5", *GRID, f"runtime.outputs={tmp_path}"
    )
    assert done.returncode == 1
    assert "optimizer.momentum: Adam takes no such argument" in done.stderr
    assert "in adam" in done.stderr
    mixup = train("-m", "regularization.mixup=0,0.01", *GRID, f"runtime.outputs={tmp_path}")
    assert mixup.returncode == 1
    assert "regularization.mixup=0.01: must be 0, which is off, or at least 0.05" in mixup.stderr
    assert not list(tmp_path.iterdir())


def test_two_workers_train_each_run_once_and_say_so_once(tmp_path: Path) -> None:
    arguments = ["-m", "seed=range(0,4)", *GRID, f"runtime.outputs={tmp_path}", "runtime.workers=2"]
    # A process of its own: its workers write to the same stream.
    done = train_process(*arguments)
    assert done.returncode == 0, done.stderr
    assert "4 finished" in done.stdout
    assert sorted(
        re.findall(r"^\[\d+ left.*\] all, seed (\d)$", done.stdout, re.MULTILINE)
    ) == list("0123")
    for path in (tmp_path / "runs").iterdir():
        assert (path / "train.log").read_text().count("started on") == 1


@pytest.mark.slow
def test_the_same_command_in_two_terminals_trains_each_run_once(tmp_path: Path) -> None:
    arguments = train_command("-m", "seed=range(0,4)", *GRID, f"runtime.outputs={tmp_path}")
    processes = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=180)[0] for process in processes]
    assert all("4 finished" in output for output in outputs)
    for path in (tmp_path / "runs").iterdir():
        assert (path / "train.log").read_text().count("started on") == 1


def test_a_killed_worker_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    arguments = [
        "-m",
        "seed=range(0,3)",
        *TINY,
        "trainer.epochs=12",
        f"runtime.outputs={tmp_path}",
        "runtime.workers=2",
    ]
    sweep = subprocess.Popen(
        train_command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    wait_for(lambda: list(tmp_path.glob("runs/*/checkpoint.pt")))
    children = Path(f"/proc/{sweep.pid}/task/{sweep.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    stdout, stderr = sweep.communicate(timeout=180)
    assert sweep.returncode == 0, stderr
    assert "3 finished" in stdout
    assert "killed by signal 9; starting another" in stderr


def test_a_stopped_sweep_resumes_by_the_same_command(tmp_path: Path) -> None:
    arguments = [
        "-m",
        "seed=range(0,3)",
        *TINY,
        "trainer.epochs=15",
        f"runtime.outputs={tmp_path}",
    ]
    sweep = subprocess.Popen(
        train_command(*arguments, "runtime.workers=2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    wait_for(lambda: list(tmp_path.glob("runs/*/checkpoint.pt")))
    sweep.terminate()
    _, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 143, stderr
    assert only_record(tmp_path).states(tmp_path)["finished"] < 3
    done = train(*arguments)
    assert done.returncode == 0, done.stderr
    assert "3 finished" in done.stdout
    resumes = [
        json.loads(path.read_text())["num_resumes"] for path in tmp_path.glob("runs/*/summary.json")
    ]
    assert sum(resumes) >= 1


def points(*lines: str) -> list[tuple[str, ...]]:
    return expand(OverridesParser.create().parse_overrides(list(lines)))


def test_a_later_value_of_a_key_replaces_the_earlier_one_at_its_place() -> None:
    assert points("seed=0,1,2", "a=x,y", "seed=7") == [("seed=7", "a=x"), ("seed=7", "a=y")]


def test_the_first_key_is_the_outermost_loop() -> None:
    assert points("seed=0,1", "a=x,y") == [
        ("seed=0", "a=x"), ("seed=0", "a=y"), ("seed=1", "a=x"), ("seed=1", "a=y"),
    ]  # fmt: skip


def test_a_continuous_space_is_no_grid() -> None:
    with pytest.raises(AugeanError, match="needs a list of values"):
        points("optimizer.lr=interval(0,1)")


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        (
            "table3_width",
            ["experiment=demo", "seed=0,1", "runtime.table.baseline=null", "width.channels=3,5"],
        ),
        (
            "table3_width",
            [
                "runtime.table.baseline=null",
                "seed=2,3",
                "width.channels=4,8",
                "dataset.crop_padding=${seed}",
            ],
        ),
        (
            "table1_activation",
            [
                "seed=0",
                "optimizer=sgd,adam",
                "optimizer.lr=0.1,0.2",
                "dataset.mean=[0.1,0.2,0.3],[0,0,0]",
            ],
        ),
        (
            "table1_activation",
            ["seed=0", "++optimizer.arguments.nesterov=true,false", "optimizer.momentum=0.5,0.9"],
        ),
        (
            "table1_activation",
            [
                "seed=0",
                "+optimizer.arguments={nesterov:true},{}",
                "++optimizer.arguments.foreach=true,false",
            ],
        ),
    ],
)
def test_jobs_that_share_a_composition_have_the_config_that_hydra_would_compose(
    monkeypatch: pytest.MonkeyPatch, name: str, overrides: list[str]
) -> None:
    quick, checked = Composition.compose, []

    def compose_both(self: Composition, point: Sequence[str]) -> Config:
        config = quick(self, point)
        whole = self.loader.load_sweep_config(self.master, list(point))
        assert config == parse_config(without_hydra(whole))
        checked.append(point)
        return config

    monkeypatch.setattr(Composition, "compose", compose_both)
    assert len(plan_file(name, overrides).jobs) == len(checked) >= 4


def test_a_sweep_over_an_added_key_is_named_by_the_key_alone() -> None:
    for more in ([], ["hydra.sweeper.n_trials=2"]):
        plan = plan_file(
            "config", ["dataset=digits", "++optimizer.arguments.dampening=0.0,0.1", *more]
        )
        assert plan.record.name.startswith("optimizer.arguments.dampening--")


# One sweep has one folder


def num_finished(outputs: Path) -> int:
    return len(list(outputs.glob("runs/*/summary.json")))


def test_a_folder_named_by_the_time_is_one_for_all_workers(tmp_path: Path) -> None:
    outputs = f"runtime.outputs={tmp_path}/${{now:%H-%M-%S-%f}}"
    done = train("-m", "seed=0,1", *TINY, "trainer.epochs=1", "runtime.workers=2", outputs)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    assert num_finished(folder) == 2


def test_jobs_that_change_the_folder_read_and_write_in_that_of_the_launch(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text("1")
    tiny = [*TINY, "trainer.epochs=1", "hydra.job.chdir=true", "code_files=[settings.json]"]
    for words in (["-m", "seed=0,1", *tiny], ["seed=2", *tiny]):
        done = train(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert num_finished(tmp_path / "outputs") == 3


def test_the_home_folder_may_be_written_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "own.yaml").write_text(
        "defaults: [config, _self_]\n"
        "runtime: {outputs: ~/results}\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
    )
    done = train("-cd", ".", "-cn", "own", *TINY, "trainer.epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert num_finished(tmp_path / "home/results") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "own.yaml"]
    # A shell leaves it where it does not begin a word.
    status = augean("status", "--outputs=~/results", cwd=tmp_path)
    assert "2 finished" in status.stdout


@pytest.mark.parametrize(
    "sweeper",
    [
        "params: {runtime.outputs: 'a,b'}",
        "params: {runtime.device: 'cpu,cuda'}",
        "rows: {a: [runtime.data=here], b: []}",
        "rows: {a: [++runtime.data=here], b: []}",
        "params: {launcher: 'local,slurm'}",
        "rows: {a: [hydra.job.chdir=true], b: []}",
    ],
)
def test_a_setting_of_the_sweep_cannot_be_swept(sweeper: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        f"defaults: [config, _self_]\nhydra: {{mode: MULTIRUN, sweeper: {{{sweeper}}}}}\n"
    )
    done = train("-cd", ".", "-cn", "own", *TINY, "runtime.outputs=out", cwd=tmp_path)
    assert done.returncode == 1
    assert re.match(r"[\w.]+: is a setting of the sweep as a whole", done.stderr)
    assert not (tmp_path / "out").exists()


# What Hydra merges, and what it takes for one key


def test_what_hydra_merges_in_a_run_is_merged_in_a_sweep_and_in_a_study() -> None:
    words = [
        "dataset=digits",
        "++optimizer.arguments={dampening:0.1}",
        "++optimizer.arguments={foreach:false}",
    ]
    expected = compose(words).optimizer.arguments
    assert (expected["dampening"], expected["foreach"]) == (0.1, False)
    for more in (["seed=0"], ["activation=relu,elu", "hydra.sweeper.n_trials=2"]):
        plan = plan_file("config", [*words, *more])
        assert [job.config.optimizer.arguments for job in plan.jobs] == [expected] * len(plan.jobs)


def test_dictionaries_that_are_swept_are_merged_with_the_one_before_them() -> None:
    plan = plan_file(
        "config",
        [
            "dataset=digits",
            "++optimizer.arguments={dampening:0.1}",
            "++optimizer.arguments={foreach:true},{foreach:false}",
        ],
    )
    arguments = [job.config.optimizer.arguments for job in plan.jobs]
    pairs = [(item["dampening"], item["foreach"]) for item in arguments]
    assert pairs == [(0.1, True), (0.1, False)]
    assert len({job.row for job in plan.jobs}) == 2


@pytest.mark.parametrize("seed", ["seed=0,1", "++seed=0,1"])
def test_a_plus_before_a_key_makes_no_other_key(seed: str) -> None:
    plan = plan_file("config", ["dataset=digits", "activation=relu,elu", seed])
    jobs = [(job.row, job.config.seed) for job in plan.jobs]
    assert jobs == [("relu", 0), ("relu", 1), ("elu", 0), ("elu", 1)]
    same = plan_file("config", ["dataset=digits", "activation=relu,elu", "seed=0,1"])
    assert plan.record.name == same.record.name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a=1,2", "a=3,4"], [("a=3",), ("a=4",)]),
        (["a=1,2", "++a=3"], [("++a=3",)]),
        (["a=1", "~a"], [("a=1", "~a")]),
        (["a.b=1", "a={b:2}", "a.b=3"], [("a={b:2}", "a.b=3")]),
        (["a@b=1,2", "a=3"], [("a@b=1", "a=3"), ("a@b=2", "a=3")]),
        (["a='x,y',z"], [("a='x,y'",), ("a=z",)]),
        (["a=sort(3,1,2)"], [("a=1",), ("a=2",), ("a=3",)]),
    ],
)
def test_the_last_value_of_a_key_counts(words: list[str], expected: list[tuple[str, ...]]) -> None:
    assert points(*words) == expected


def test_a_sweep_that_gives_a_key_twice_is_named_by_it_once() -> None:
    plan = plan_file("config", ["dataset=digits", "optimizer.lr=0.1,0.2", "optimizer.lr=0.3,0.4"])
    assert plan.record.name.startswith("optimizer.lr--")
    assert [job.row for job in plan.jobs] == ["0.3", "0.4"]


def test_rows_of_different_numbers_have_different_labels() -> None:
    words = ["dataset=digits", "optimizer.lr=0.1234567,0.1234568,1e-4,1000000"]
    plan = plan_file("config", [*words, "runtime.table.row=optimizer.lr"])
    assert [job.row for job in plan.jobs] == ["0.1234567", "0.1234568", "0.0001", "1000000"]
    assert row_label(1e6) == row_label(1_000_000)


def test_a_launch_says_which_rows_of_its_record_it_leaves_out(tmp_path: Path) -> None:
    outputs = tmp_path / "out"
    words = ["-m", *TINY, "trainer.epochs=1", "activation=relu", f"runtime.outputs={outputs}"]
    assert train(*words).returncode == 0
    # As after `augean unpack`, which has merged a grid of the same name with other rows.
    ((record,), _) = read_records(outputs)
    finished = SweepJob(**write_run(outputs, row="elu", activation__name="elu"))
    missing = replace(finished, id="0123456789", run="nowhere", row="gelu")
    loop = replace(finished, row="mine", command="python loop.py")
    replace(record, jobs=[*record.jobs, finished, missing, loop]).write(outputs)
    again = train(*words)
    assert f"leaves out 1 row of its record: elu; the runs stay in {outputs}/runs" in again.stdout
    ((record,), _) = read_records(outputs)
    assert [job.row for job in record.jobs] == ["all", "mine"]
    assert "leaves out" not in train(*words).stdout


def test_a_launch_on_other_data_says_what_it_leaves_out(tmp_path: Path) -> None:
    """Where data lies is no part of a sweep's identity, so the two grids share a record."""
    outputs = tmp_path / "out"
    setting = [item for item in TINY if not item.startswith("dataset")]
    words = [
        "-m", *setting, "trainer.epochs=1", "dataset=image_folder", "dataset.name=photos",
        "dataset.image_size=16", "trainer.batch_size=8", "activation=relu,elu",
        f"runtime.outputs={outputs}",
    ]  # fmt: skip
    for place, seed in (("one", 0), ("two", 1)):
        write_photos(tmp_path / place / "photos", seed)
    first = train(*words, f"runtime.data={tmp_path}/one")
    assert first.returncode == 0, first.stderr
    place = f"runtime.data={tmp_path}/two"
    status = augean("status", *words, place)
    assert "what it asks for, or code, data or weights of its runs, have changed" in status.stdout
    assert "2 missing" in status.stdout
    second = train(*words, place)
    assert "leaves out 2 finished runs of rows that stay" in second.stdout
    assert "have changed" not in augean("status", *words, place).stdout


def write_photos(folder: Path, seed: int) -> None:
    """Write 12 images of noise in each of two classes."""
    pixels = numpy.random.Generator(numpy.random.PCG64(seed))
    for name in ("bright", "dark"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            image = pixels.integers(0, 256, (16, 16, 3), dtype=numpy.uint8)
            Image.fromarray(image).save(folder / name / f"{number}.png")
