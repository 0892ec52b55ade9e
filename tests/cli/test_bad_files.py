"""A folder in which every file has its bad copy: each command names them and uses the rest."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest

from augean.errors import AugeanError, StorageError
from augean.store.archive.packing import unpack
from augean.store.checkpoints import load_checkpoint
from augean.store.run_directory import runs_dir
from augean.store.run_progress import read_progress
from augean.sweeps.studies.journal import Journal
from commands import Done, augean
from fake_runs import sign, write_record, write_run

LIMIT_SECONDS = 120
LIMIT_BYTES = 8 * 2**30
"""Memory beyond what the tests have already: /dev/zero would fill any."""
RUN_FILES = (
    "summary.json",
    "metrics.csv",
    "steps.npy",
    "probe.csv",
    "confusion.csv",
    "model.json",
    "correct.npy",
    "config.yaml",
    "best.pt",
    "train.log",
)
"""Each of them is bad in one run of its own."""
LISTED = ("summary.json", "metrics.csv", "steps.npy", "probe.csv")
"""Those that the report reads in every run."""


def pipe(path: Path, _content: bytes) -> None:
    os.mkfifo(path)


def endless(path: Path, _content: bytes) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path, _content: bytes) -> None:
    path.mkdir()


def huge(path: Path, _content: bytes) -> None:
    path.touch()
    os.truncate(path, 2**40)


def latin_1(path: Path, _content: bytes) -> None:
    path.write_bytes('{"title": "é"}'.encode("latin-1"))


def half(path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])


def other_types(path: Path, _content: bytes) -> None:
    path.write_text('{"sha256": [1], "schema": {}, "config": true, "jobs": [[]], "1": NaN}')


def nested(path: Path, _content: bytes) -> None:
    path.write_text("[" * 100_000)


NOT_REGULAR = (pipe, endless, folder, huge)
DAMAGED = (latin_1, half, other_types, nested)
HARMS = (*NOT_REGULAR, *DAMAGED)
Harm = Callable[[Path, bytes], None]


def spoil(path: Path, harm: Harm) -> None:
    content = path.read_bytes() if path.exists() else b"{}"
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    harm(path, content)


@contextmanager
def limited() -> Iterator[None]:
    """Limit time and memory: what waits for ever or reads without end fails the test alone."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not done after {LIMIT_SECONDS} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = 1024 * int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0])
    before = signal.signal(signal.SIGALRM, give_up)
    resource.setrlimit(resource.RLIMIT_DATA, (used + LIMIT_BYTES, hard))
    signal.alarm(LIMIT_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of two rows of a grid, a study, an unfinished run and whatever else lies there."""
    outputs = tmp_path_factory.mktemp("good") / "outputs"
    jobs = []
    for number in range(2 + len(RUN_FILES)):
        row = "good" if number < 2 else "bad"
        job = write_run(outputs, seed=number, epochs=2, row=row)
        path = runs_dir(outputs) / job["run"]
        numpy.save(path / "steps.npy", numpy.linspace(2, 1, 30, dtype=numpy.float32))
        (path / "probe.csv").write_text(
            "step,lr,step_size,loss,gradient_distance,gradient_cosine,smoothness\n"
            "0,0.1,0,2,0,1,1\n0,0.1,0.1,1.9,0.1,0.9,1\n"
        )
        (path / "best.pt").write_bytes(b"weights")
        sign(path)
        jobs.append(job)
    jobs.append(write_run(outputs, seed=99, epochs=2, row="unfinished", state="failed"))
    write_record(outputs, "table", jobs, band="model.name", row_keys=["activation.name"])
    content = json.loads((outputs / "sweeps/table.json").read_text())
    del content["row_key"]
    (outputs / "sweeps/table.json").write_text(json.dumps(content))
    winner = {**jobs[0], "trial": 0, "state": "complete", "score": 0.5, "values": {}}
    write_record(outputs, "tune", [winner], kind="study", num_trials=1, winner=["optimizer.lr=0.1"])
    return outputs


def bad_copy(good: Path, outputs: Path, harm: Harm) -> dict[str, Path]:
    """Copy the outputs and spoil one file of each kind; return those files by their names."""
    shutil.copytree(good, outputs)
    jobs = json.loads((good / "sweeps/table.json").read_text())["jobs"]
    bad = {}
    for job, name in zip(jobs[2:-1], RUN_FILES, strict=True):
        bad[name] = runs_dir(outputs) / job["run"] / name
    unfinished = runs_dir(outputs) / jobs[-1]["run"]
    for name in ("progress.json", "failure.txt", "checkpoint.pt", "checkpoint.pt.sha256"):
        bad[name] = unfinished / name
    bad["record"] = outputs / "sweeps/bad.json"
    shutil.copy(outputs / "sweeps/table.json", bad["record"])
    bad["array"] = outputs / "slurm/7.json"
    bad["journal"] = outputs / "studies/bad.journal"
    if harm is not folder:  # which the report cannot replace
        bad["list"] = outputs / "report/.files"
    for path in bad.values():
        spoil(path, harm)
    return bad


def check_words(done: Done, status: int) -> None:
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert done.returncode == status, said


@pytest.mark.parametrize(
    "harm",
    [
        pipe,
        endless,
        other_types,
        pytest.param(folder, marks=pytest.mark.slow),
        pytest.param(huge, marks=pytest.mark.slow),
        pytest.param(latin_1, marks=pytest.mark.slow),
        pytest.param(half, marks=pytest.mark.slow),
        pytest.param(nested, marks=pytest.mark.slow),
    ],
)
def test_commands_name_bad_files_and_use_the_rest(good: Path, tmp_path: Path, harm: Harm) -> None:
    outputs = tmp_path / "outputs"
    bad = bad_copy(good, outputs, harm)
    place = ("--outputs", str(outputs))
    with limited():
        done = augean("status", *place)
        check_words(done, 2)
        assert f"{bad['record']}: " in done.stderr
        assert f"{bad['array']}: damaged" in done.stderr
        # The run with a bad summary counts as interrupted.
        assert "table (table): 11 finished, 1 interrupted, 1 failed" in done.stdout

        done = augean("report", *place)
        check_words(done, 2)
        for name in LISTED:
            assert str(bad[name].relative_to(outputs)) in done.stderr
        assert "sweeps/bad.json" in done.stderr
        assert ",good," in (outputs / "report/tables/table.csv").read_text().replace("\n", ",")

        done = augean("settle", "table", "--dry-run", *place)
        assert "Traceback" not in done.stderr
        target = tmp_path / "tuned.yaml"
        check_words(augean("promote", "tune", "--to", str(target), *place), 0)
        assert "lr: 0.1" in target.read_text()

        done = augean("pack", "--to", str(tmp_path / "runs.tar.xz"), *place)
        check_words(done, 2)
        assert str(bad["summary.json"]) in done.stdout + done.stderr
        for name in ("summary.json", "config.yaml", "best.pt"):
            done = augean("evaluate", str(bad[name].parent), *place)
            check_words(done, 1)


@pytest.mark.parametrize("harm", HARMS)
def test_a_run_or_a_study_passes_over_bad_files_or_names_them(
    good: Path, tmp_path: Path, harm: Harm
) -> None:
    outputs = tmp_path / "outputs"
    bad = bad_copy(good, outputs, harm)
    with limited():
        unfinished = bad["checkpoint.pt"].parent
        assert load_checkpoint(unfinished) == (None, "checkpoint.pt is damaged and was passed over")
        assert read_progress(unfinished) is None
        # Of the others, a last line without a line break is a write that failed.
        if harm in NOT_REGULAR:
            with pytest.raises(StorageError, match=r"bad\.journal"):
                Journal(str(bad["journal"]))


@pytest.mark.parametrize("harm", NOT_REGULAR)
@pytest.mark.parametrize("name", ["sweeps/tune.json", "studies/tune.journal"])
def test_unpack_names_what_is_in_its_way(good: Path, tmp_path: Path, harm: Harm, name: str) -> None:
    source = tmp_path / "source"
    shutil.copytree(good, source)
    (source / "studies").mkdir()
    (source / "studies/tune.journal").write_bytes(b"{}\n")
    archive = tmp_path / "runs.tar.xz"
    check_words(augean("pack", "--to", str(archive), "--outputs", str(source)), 0)
    spoil(tmp_path / "outputs" / name, harm)
    with limited(), pytest.raises(AugeanError, match=r"tune|cannot unpack"):
        unpack(archive, tmp_path / "outputs")


def without_rights(*words: str) -> Done:
    """Run a command as a process to which the rights of files apply, as they do not to root."""
    command = [sys.executable, "-m", "augean", *words]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may read everything")
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)


@contextmanager
def locked_away(path: Path) -> Iterator[None]:
    """Take all rights of a folder away."""
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(0o755)  # so that the folder can be removed


def test_a_run_that_may_not_be_read_is_named_and_the_others_shown(tmp_path: Path) -> None:
    jobs = [write_run(tmp_path, row=row, seed=seed) for seed, row in enumerate(("elu", "relu"))]
    write_record(tmp_path, "table", jobs)
    path = runs_dir(tmp_path) / jobs[0]["run"]
    place = ("--outputs", str(tmp_path))
    with locked_away(path):
        status = without_rights("status", *place)
        report = without_rights("report", *place)
        watch = without_rights("watch", "--once", *place)
    check_words(status, 2)
    assert "table (table): 1 finished, 1 interrupted" in status.stdout
    assert f"{path}: may not be read, so its result is left out; ask its owner" in status.stderr
    check_words(report, 2)
    assert f"{path.name}/summary.json: cannot be read" in report.stderr
    check_words(watch, 0)
    assert "1 finished" in watch.stdout
    assert "may not be read" in watch.stdout
    assert "that you can write to" not in status.stderr + report.stderr + watch.stderr


@pytest.mark.parametrize(("command", "name"), [("status", "sweeps"), ("clean", "runs")])
def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(
    command: str, name: str, tmp_path: Path
) -> None:
    write_record(tmp_path, "table", [write_run(tmp_path, row="elu")])
    with locked_away(tmp_path / name):
        done = without_rights(command, "--outputs", str(tmp_path))
    check_words(done, 1)
    assert f"{tmp_path / name}: cannot be read (Permission denied); ask its owner" in done.stderr
