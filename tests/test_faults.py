"""Full disks, no memory, damaged and foreign files, folders that moved: each fault is caused, not
imagined.
"""

import contextlib
import errno
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy
import optuna
import pytest
import torch
from PIL import Image

from augean.config.compose import compose
from augean.config.schema import Config
from augean.errors import AugeanError, DataError
from augean.report import make_report
from augean.runs.address import build_source, find_address
from augean.runs.execute import execute
from augean.signals import Interrupted
from augean.store.checkpoints import (
    CHECKPOINT,
    CHECKSUMS,
    PREVIOUS,
    load_checkpoint,
    save_checkpoint,
)
from augean.store.files import write_atomic
from augean.store.locks import is_locked
from augean.store.run_directory import read_verified, run_state
from augean.store.sweep_record import SweepJob, SweepRecord, read_records
from augean.sweeps.studies.journal import Journal
from augean.sweeps.studies.storage import open_storage
from augean.terminal import show_messages
from commands import Done, augean, train
from conftest import TINY, replace_everywhere
from fake_runs import sign, write_record

Make = Callable[..., Config]
Train = Callable[[Config, int], None]
RECORDED = ("record.step_loss=true", "record.probe_every=2", "record.probe_points=2")
BAND: dict[str, Any] = {"band": "model.name", "row_keys": ["activation.name"]}


def status(outputs: Path) -> Done:
    return augean("status", "--outputs", str(outputs))


def job_of(config: Config, row: str = "a") -> dict[str, Any]:
    address = find_address(config)
    return {"id": address.id, "run": address.path.name, "row": row, "seed": config.seed}


# Full disks


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(
            f"a small file system cannot be mounted here: {done.stderr.strip() or 'mount failed'}"
        )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB; skips where none can be mounted, which takes root."""
    with mounted(tmp_path / "small", "size=8m"):
        yield tmp_path / "small"


def fill(disk: Path) -> Path:
    """Take all that is left of a file system; remove the file to give it back."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (2**16, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


WRITTEN = ["config.yaml", "metrics.csv", ".checkpoint.new.pt", "best.pt", "summary.json"]
"""Files of a run, one of each kind of writing."""
WRITTEN_ALIKE = ["model.json", "checkpoint.pt.sha256", "confusion.csv", "steps.npy", "probe.csv"]


@pytest.mark.parametrize(
    "name", [*WRITTEN, *(pytest.param(name, marks=pytest.mark.slow) for name in WRITTEN_ALIKE)]
)
def test_a_disk_that_is_full_while_a_file_is_written_costs_nothing_that_was_there(
    name: str,
    tiny: Make,
    tmp_path: Path,
    small_disk: Path,
    train_until: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = execute(
        tiny(*RECORDED, f"runtime.outputs={tmp_path.parent}/whole")
    )  # once for all names
    config = tiny(*RECORDED, f"runtime.outputs={small_disk}/outputs")
    train_until(config, 2)  # leaves the checkpoint of epoch 1
    address, write = find_address(config), write_atomic
    before = (address.path / CHECKPOINT).read_bytes()

    def full_disk(path: Path, content: str | bytes, *, sync: bool = True) -> None:
        if path.name == name:
            fill(small_disk)
        write(path, content, sync=sync)

    with monkeypatch.context() as patch:
        replace_everywhere(patch, write_atomic, full_disk)
        with pytest.raises(AugeanError, match="No space left on device") as caught:
            execute(config)
    assert name in str(caught.value)
    assert run_state(address.outputs, address.path, address.id) in ("interrupted", "failed")
    assert not list(address.path.glob(".*.tmp"))
    content, _ = load_checkpoint(address.path)
    assert content is not None
    later = name not in (
        "config.yaml",
        "model.json",
        "metrics.csv",
        ".checkpoint.new.pt",
        "checkpoint.pt.sha256",
    )
    assert later or content == before
    torch.load(address.path / CHECKPOINT, weights_only=True)
    (small_disk / "filler").unlink()
    after = execute(config)
    assert after.summary.files["best.pt"] == whole.summary.files["best.pt"]
    assert after.summary.files["steps.npy"] == whole.summary.files["steps.npy"]
    assert not (address.path / "failure.txt").exists()


def test_a_full_disk_is_one_message_of_every_command(small_disk: Path) -> None:
    outputs = small_disk / "outputs"
    outputs.mkdir()
    fill(small_disk)
    for arguments in (
        [],
        ["-m", "seed=0,1"],
        ["-m", "optimizer.lr=tag(log,interval(1e-3,1))", "hydra.sweeper.n_trials=1"],
    ):
        done = train(*TINY, *arguments, f"runtime.outputs={outputs}")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "Logging error" not in done.stderr
        assert "No space left on device" in done.stderr, done.stderr
        assert str(small_disk) in done.stderr


def test_a_full_disk_under_a_report_is_one_message(small_disk: Path, tiny: Make) -> None:
    config = tiny("trainer.epochs=1", f"runtime.outputs={small_disk}/outputs")
    execute(config)
    write_record(small_disk / "outputs", "one", [job_of(config)])
    fill(small_disk)
    done = augean("report", "--outputs", f"{small_disk}/outputs")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def test_a_journal_on_a_full_disk_keeps_what_it_has_and_goes_on(small_disk: Path) -> None:
    path = small_disk / "study.journal"
    study = optuna.create_study(
        storage=open_storage(str(path)), study_name="s", direction="maximize"
    )
    study.add_trial(optuna.create_trial(value=1.0))
    before = path.read_bytes()
    fill(small_disk)
    with pytest.raises(AugeanError, match="No space left on device"):
        study.set_user_attr("note", "x" * 5000)
    left = path.read_bytes()
    assert left.startswith(before)
    assert left.endswith(b"\n")
    (small_disk / "filler").unlink()
    again = optuna.load_study(study_name="s", storage=open_storage(str(path)))
    again.add_trial(optuna.create_trial(value=2.0))
    assert values_of(path) == [1.0, 2.0]


def make_images(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 12) -> None:
    generator = numpy.random.default_rng(0)
    for part in ("train", "test"):
        for name in classes:
            folder = root / "photos" / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 256, (16, 16, 3), dtype=numpy.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")


PHOTOS = [
    "dataset=image_folder", "dataset.name=photos", "dataset.image_size=16", "dataset.num_val=4",
    "width.channels=4", "trainer.epochs=1", "trainer.batch_size=10", "trainer.precision=fp32",
    "runtime.progress=none",
]  # fmt: skip


def test_a_full_disk_under_the_data_cache_is_named_and_leaves_no_part_of_a_file(
    small_disk: Path, tmp_path: Path
) -> None:
    make_images(tmp_path / "data")
    config = compose(
        [*PHOTOS, f"runtime.data={tmp_path}/data", f"runtime.cache={small_disk}/cache"]
    )
    source = build_source(config)
    source.digest()
    fill(small_disk)
    with pytest.raises(DataError, match=r"runtime\.cache=.*No space left on device"):
        source.load()
    assert not list((small_disk / "cache").glob("*.part"))
    assert not list((small_disk / "cache").glob("*.npz"))
    (small_disk / "filler").unlink()
    assert len(source.load().train_images) == 24


# Memory


OUT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import torch
import augean.training
torch.ones(64, 64) @ torch.ones(64, 64)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1200 * 2**20,) * 2)
from augean.hydra_main import main
sys.argv = ["train.py", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(resource, "RLIMIT_AS") or sys.platform != "linux",
    reason="needs Linux's address limit",
)
def test_out_of_memory_on_a_cpu_fails_one_job_with_a_hint_and_the_next_runs(tmp_path: Path) -> None:
    setting = [item for item in TINY[:-1] if not item.startswith(("width", "trainer.epochs"))]
    sweep = ["-m", "width.channels=4096,4", "trainer.epochs=1", f"runtime.outputs={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-c", OUT_OF_MEMORY, *sweep, *setting],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert "1 finished, 0 diverged, 1 failed" in done.stdout, done.stderr
    assert done.returncode == 1
    (failure,) = tmp_path.glob("runs/*/failure.txt")
    text = failure.read_text()
    assert "out of memory" in text
    assert "trainer.batch_size" in text
    assert "width.channels" in text


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB"
        ),
        MemoryError(),
        ZeroDivisionError("a fault of the network"),
    ],
    ids=["CUDA", "CPU", "another"],
)
def test_what_a_failed_run_held_is_freed_while_its_exception_is_still_known(
    error: Exception, tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = []

    def fail(network: torch.nn.Module, *_: Any) -> None:
        networks.append(weakref.ref(network))
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("augean.training.trainer.evaluate_final", fail)
        with pytest.raises(type(error) if "fault" in str(error) else AugeanError) as caught:
            execute(tiny())
    assert caught.value is not None  # a sweep holds on to it, to say in the end what has failed
    assert [network() for network in networks] == [None]
    text = (find_address(tiny()).path / "failure.txt").read_text()
    assert ("out of memory" in text) == ("fault" not in str(error))
    assert execute(tiny()).summary.status == "finished"


# Damage


def flip(content: bytes, generator: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
    return bytes(damaged)


def truncate(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content))]


HARMS = {"flipped": flip, "truncated": truncate}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with one finished run that has every file, and a record of it."""
    outputs = tmp_path_factory.mktemp("recorded") / "outputs"
    config = compose([*TINY, *RECORDED, f"runtime.outputs={outputs}"])
    execute(config)
    job = SweepJob(**job_of(config))
    record = SweepRecord("one", "One", "python train.py", "now", [job], **BAND)
    record.write(outputs)
    assert make_report(outputs).problems == []
    return outputs


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize(
    "name", ["metrics.csv", "confusion.csv", "model.json", "steps.npy", "probe.csv"]
)
def test_a_damaged_side_file_is_listed_by_the_report_and_not_used(
    name: str, harm: str, recorded: Path, tmp_path: Path
) -> None:
    shutil.copytree(recorded, tmp_path / "outputs")
    (file,) = (tmp_path / "outputs" / "runs").glob(f"*/{name}")
    file.write_bytes(HARMS[harm](file.read_bytes(), random.Random(name + harm)))
    problems = make_report(tmp_path / "outputs").problems
    assert [Path(problem.path).name for problem in problems] == [name]
    assert "truncated or altered after the run" in problems[0].message


@pytest.mark.parametrize("harm", HARMS)
def test_damaged_weights_are_refused_by_who_reads_them(
    harm: str, recorded: Path, tmp_path: Path
) -> None:
    shutil.copytree(recorded, tmp_path / "outputs")
    (file,) = (tmp_path / "outputs" / "runs").glob("*/best.pt")
    assert read_verified(file.parent, "best.pt") == file.read_bytes()
    file.write_bytes(HARMS[harm](file.read_bytes(), random.Random(0)))
    with pytest.raises(AugeanError, match=r"best\.pt: was truncated or altered"):
        read_verified(file.parent, "best.pt")


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_summary_or_record_is_never_believed(
    seed: int, recorded: Path, tmp_path: Path
) -> None:
    generator, outputs = random.Random(seed), tmp_path / "outputs"
    shutil.copytree(recorded, outputs)
    (summary,), (record,) = outputs.glob("runs/*/summary.json"), outputs.glob("sweeps/*.json")
    harm = HARMS["flipped" if seed % 2 else "truncated"]
    whole = {file: file.read_bytes() for file in (summary, record)}
    identity = summary.parent.name[-10:]
    summary.write_bytes(harm(whole[summary], generator))
    if json_or_none(summary.read_bytes()) != json_or_none(whole[summary]):
        assert run_state(outputs, summary.parent, identity) == "interrupted"
        report = make_report(outputs)
        assert [problem.path for problem in report.problems] == [str(summary.relative_to(outputs))]
        assert (
            execute(compose([f"runtime.outputs={outputs}"], folder=summary.parent)).skipped is False
        )
    summary.write_bytes(whole[summary])
    record.write_bytes(harm(whole[record], generator))
    found, problems = read_records(outputs)
    if json_or_none(record.read_bytes()) != json_or_none(whole[record]):
        assert (found, len(problems)) == ([], 1)
        assert str(record) in problems[0]
        assert [problem.path for problem in make_report(outputs).problems] == [
            str(record.relative_to(outputs))
        ]


def json_or_none(content: bytes) -> Any:
    """What a reader makes of it: a flip in white space changes nothing."""
    try:
        return json.loads(content)
    except ValueError:
        return None


def test_a_damaged_record_is_named_by_status_with_the_remedy(
    recorded: Path, tmp_path: Path
) -> None:
    shutil.copytree(recorded, tmp_path / "outputs")
    (record,) = (tmp_path / "outputs").glob("sweeps/*.json")
    record.write_text(record.read_text().replace('"seed": 0', '"seed": 1'))
    done = status(tmp_path / "outputs")
    assert done.returncode == 2
    remedy = "move it away, and the sweep's own command writes it anew"
    assert f"{record}: was altered or damaged; {remedy}" in done.stderr
    assert "finished" not in done.stdout


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_checkpoint_is_passed_over_with_a_word_and_the_end_is_the_same(
    seed: int, tiny: Make, tmp_path: Path, train_until: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = execute(
        tiny("trainer.epochs=5", f"runtime.outputs={tmp_path.parent}/whole")
    )  # once for all seeds
    config, generator = tiny("trainer.epochs=5"), random.Random(seed)
    train_until(config, 4)
    path = find_address(config).path
    names = [CHECKPOINT, PREVIOUS, CHECKSUMS]
    harmed = [names[0]] if seed < 3 else names[: 2 + seed % 2]
    for name in harmed:
        (path / name).write_bytes(
            list(HARMS.values())[seed % 2]((path / name).read_bytes(), generator)
        )
    outcome = execute(config)
    assert "checkpoint.pt is damaged and was passed over" in outcome.summary.note
    assert "is damaged and was passed over" in capfd.readouterr().err
    assert outcome.summary.num_resumes == (1 if len(harmed) == 1 else 0)
    assert outcome.summary.files["best.pt"] == whole.summary.files["best.pt"]


class KilledError(BaseException):
    """Stands for the end of the process."""


def test_a_checkpoint_damaged_after_it_was_written_is_never_the_one_to_fall_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace
    for survived in range(
        4
    ):  # renames before the end of the process: of the new file, the digests, the checkpoint
        folder, calls = tmp_path / str(survived), list[Path]()
        folder.mkdir()
        for content in (b"first", b"second"):
            save_checkpoint(folder, content)
        (folder / CHECKPOINT).write_bytes(b"sEcond")
        assert load_checkpoint(folder)[0] == b"first"

        def dying(
            self: Path, target: Path, calls: list[Path] = calls, limit: int = survived
        ) -> Path:
            if len(calls) == limit:
                raise KilledError
            calls.append(target)
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying)
            with contextlib.suppress(KilledError):
                save_checkpoint(folder, b"third")
        assert load_checkpoint(folder)[0] == (b"third" if survived == 3 else b"first")
    (folder / CHECKPOINT).write_bytes(b"tHird")
    assert load_checkpoint(folder)[0] == b"first"


def test_a_checkpoint_on_a_bad_sector_is_passed_over(
    tiny: Make, train_until: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, open_file = tiny("trainer.epochs=5"), os.open
    train_until(config, 4)

    def bad(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_ACCMODE == os.O_RDONLY and Path(path).name == CHECKPOINT:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return open_file(path, flags, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", bad)
        summary = execute(config).summary
    assert (summary.num_resumes, summary.note) == (
        1,
        "checkpoint.pt is damaged and was passed over",
    )


def test_writers_on_several_machines_share_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes in containers often have one number; a file of both would be torn."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    file, sync = tmp_path / "record.json", os.fsync

    def meanwhile(descriptor: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", sync)
            write_atomic(file, "the other's")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", meanwhile)
        write_atomic(file, "ours")
    assert file.read_text() == "ours"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize("name", ["file/record.json", f"{'n' * 300}.json"])
def test_a_file_that_cannot_be_written_is_a_message(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(AugeanError, match=r"cannot write .*: (Not a directory|File name too long)"):
        write_atomic(tmp_path / name, "content")


def new_journal(path: Path) -> bytes:
    study = optuna.create_study(
        storage=open_storage(str(path)), study_name="s", direction="maximize"
    )
    for value in (0.25, 0.5, 0.75):
        study.add_trial(optuna.create_trial(value=value))
    return path.read_bytes()


def values_of(path: Path) -> list[float | None]:
    return [
        trial.value
        for trial in optuna.load_study(study_name="s", storage=open_storage(str(path))).trials
    ]


def test_every_flipped_bit_of_a_journal_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    whole, generator, messages = new_journal(path), random.Random(0), []
    for _ in range(300):
        path.write_bytes(flip(whole, generator))
        try:
            # Where that is no error: the end of the last line, which counts as never written.
            assert values_of(path) in ([0.25, 0.5, 0.75], [0.25, 0.5])
        except AugeanError as error:
            messages.append(str(error))
    assert len(messages) > 290
    assert all("is damaged" in message for message in messages)


def test_a_journal_torn_at_any_byte_is_as_before_its_last_write(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    show_messages()
    path = tmp_path / "study.journal"
    whole = new_journal(path)  # one line of the study, one of each trial
    for length in range(whole.index(b"\n") + 1, len(whole), 11):
        path.write_bytes(whole[:length])
        before = values_of(path)
        assert before == [0.25, 0.5, 0.75][: whole[:length].count(b"\n") - 1]
        study = optuna.load_study(study_name="s", storage=open_storage(str(path)))
        study.add_trial(optuna.create_trial(value=1.0))
        assert values_of(path) == [*before, 1.0]
    assert "removed its last line" in capfd.readouterr().err


def test_a_line_of_optunas_own_is_accepted_in_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    new_journal(path)
    from optuna.storages.journal import JournalFileBackend

    backend = JournalFileBackend(str(path))
    study = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(backend))
    study.set_user_attr("note", "from the dashboard")
    assert (
        optuna.load_study(study_name="s", storage=open_storage(str(path))).user_attrs["note"]
        == "from the dashboard"
    )
    assert len(list(Journal(str(path)).read_logs(0))) == 5


def test_a_damaged_journal_is_one_message_of_the_command_with_a_way_on(tmp_path: Path) -> None:
    # The command that repairs is pasted into a shell, so the folder has a blank.
    outputs = tmp_path / "my outputs"
    arguments = [
        "-m",
        "optimizer.lr=tag(log,interval(1e-3,1))",
        *[item for item in TINY if "optimizer.lr" not in item],
    ]
    arguments += ["trainer.epochs=1", "hydra.sweeper.n_trials=1", f"runtime.outputs='{outputs}'"]
    arguments.remove("trainer.epochs=3")
    assert train(*arguments).returncode == 0
    (path,) = outputs.glob("studies/*.journal")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[3][:20] + b"x" + lines[3][21:], *lines[4:]]))
    done = train(*arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"{path}: line 4 is damaged" in done.stderr
    way_on = done.stderr[done.stderr.index("head -n") :].strip()
    subprocess.run(way_on, shell=True, check=True)
    assert train(*arguments).returncode == 0


# Folders


def test_outputs_that_were_moved_or_copied_are_the_same_runs(tiny: Make, tmp_path: Path) -> None:
    first = execute(tiny())
    shutil.copytree(tmp_path / "outputs", tmp_path / "copy")
    shutil.move(tmp_path / "outputs", tmp_path / "moved")
    for name in ("copy", "moved"):
        again = execute(tiny(f"runtime.outputs={tmp_path}/{name}"))
        assert again.skipped
        assert again.summary == first.summary


def test_an_interrupted_run_goes_on_where_it_was_moved_to(
    tiny: Make, tmp_path: Path, train_until: Train
) -> None:
    whole = execute(tiny(f"runtime.outputs={tmp_path}/whole"))
    train_until(tiny(), 2)
    shutil.move(tmp_path / "outputs", tmp_path / "moved")
    outcome = execute(tiny(f"runtime.outputs={tmp_path}/moved"))
    assert outcome.summary.num_resumes == 1
    assert outcome.summary.files["best.pt"] == whole.summary.files["best.pt"]


def test_a_directory_copied_over_another_runs_is_not_taken_for_it(
    tiny: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    first, other = execute(tiny()), find_address(tiny("seed=1"))
    shutil.copytree(first.address.path, other.path)
    assert run_state(other.outputs, other.path, other.id) == "interrupted"
    outcome = execute(tiny("seed=1"))
    assert not outcome.skipped
    assert outcome.summary.id == other.id
    assert (
        f"is the summary of run {first.address.id}, not of {other.id}; the run is made again"
        in capfd.readouterr().err
    )


def test_read_only_outputs_serve_what_is_there_and_name_what_is_not(
    tiny: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "disk"
    with mounted(folder, "size=32m"):
        assert train(*TINY, f"runtime.outputs={folder}/outputs").returncode == 0
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        done = train(*TINY, f"runtime.outputs={folder}/outputs")
        assert "already finished" in done.stdout, done.stderr
        assert status(folder / "outputs").returncode == 0
        commands = [
            ["seed=1"],
            ["-m", "seed=0,1"],
            ["-m", "optimizer.lr=tag(log,interval(0.1,1))", "hydra.sweeper.n_trials=1"],
        ]
        for arguments in commands:
            done = train(*TINY, *arguments, f"runtime.outputs={folder}/outputs")
            assert done.returncode == 1
            assert "Read-only file system" in done.stderr
            assert f"{folder}/outputs" in done.stderr
            assert "Traceback" not in done.stderr
        with pytest.raises(AugeanError, match="Read-only file system"):
            make_report(folder / "outputs")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_refused_by_name(
    number: int, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def no_locks(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert filelock.FileLock is filelock.UnixFileLock
    with pytest.raises(
        AugeanError,
        match=r"cannot lock .*runtime\.outputs=.* must be writable and on a file system with",
    ):
        execute(tiny())
    assert not list(tmp_path.glob("outputs/runs/*"))
    make_images(tmp_path / "data")
    with pytest.raises(DataError, match=r"runtime\.cache=.* on a file system with locks"):
        build_source(compose([*PHOTOS, f"runtime.data={tmp_path}/data"])).digest()


# Files from strangers


class Evil:
    """What unpickling it does shows as a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("kind", ["pickle", "torch", "rubbish", "other run", "other seed"])
def test_a_foreign_checkpoint_is_refused_by_name_and_runs_no_code(
    kind: str, tiny: Make, tmp_path: Path, train_until: Train
) -> None:
    import io
    import pickle

    train_until(tiny(), 2)
    path, trace = find_address(tiny()).path, tmp_path / "trace"
    buffer = io.BytesIO()
    if kind == "torch":
        torch.save({"network": Evil(trace)}, buffer)
    elif kind == "pickle":
        buffer.write(pickle.dumps(Evil(trace)))
    elif kind.startswith("other"):  # the second fits in every shape
        config = tiny(
            "width.channels=6" if kind == "other run" else "seed=1",
            f"runtime.outputs={tmp_path}/other",
        )
        train_until(config, 2)
        other = find_address(config)
        buffer.write((other.path / CHECKPOINT).read_bytes())
    else:
        buffer.write(b"rubbish")
    save_checkpoint(path, buffer.getvalue())  # with a digest that fits
    with pytest.raises(AugeanError, match=r"its checkpoint (does not belong to|cannot be loaded)"):
        execute(tiny())
    assert not trace.exists()
    for name in (CHECKPOINT, PREVIOUS):
        (path / name).unlink()
    assert execute(tiny()).summary.status == "finished"


def test_pickles_in_a_runs_other_files_run_no_code(recorded: Path, tmp_path: Path) -> None:
    outputs, trace = tmp_path / "outputs", tmp_path / "trace"
    shutil.copytree(recorded, outputs)
    (path,) = (outputs / "runs").iterdir()
    numpy.save(path / "steps.npy", numpy.array([Evil(trace)], dtype=object), allow_pickle=True)
    torch.save(Evil(trace), path / "best.pt")
    sign(path)
    assert [Path(problem.path).name for problem in make_report(outputs).problems] == ["steps.npy"]
    with pytest.raises(Exception, match=r"[Ww]eights.only|Unsupported"):
        torch.load(path / "best.pt", weights_only=True)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("best.pt", None),
        ("best.pt", b"PK rubbish"),
        ("config.yaml", b"seed: !!python/object/apply:os.system ['touch trace']"),
        ("config.yaml", b"[1, 2]"),
        ("config.yaml", b"model: ["),
        ("config.yaml", b"model: {name: x, _target_: subprocess.Popen}"),
    ],
)
def test_a_run_from_a_stranger_is_evaluated_or_refused_and_runs_no_code(
    name: str,
    content: bytes | None,
    recorded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from augean.inference.load import load_model

    shutil.copytree(recorded, tmp_path / "outputs")
    (path,) = (tmp_path / "outputs" / "runs").iterdir()
    monkeypatch.chdir(tmp_path)
    if content is None:
        torch.save({"weight": Evil(tmp_path / "trace")}, path / name)
    else:
        (path / name).write_bytes(content)
    sign(path)
    with pytest.raises(AugeanError, match=name.partition(".")[0]):
        load_model(path, data=str(tmp_path), device="cpu", allowed_packages=[])
    assert not (tmp_path / "trace").exists()


FOREIGN = {
    "hydra": "hydra: {callbacks: {x: {_target_: logging.FileHandler, filename: TRACE}}}",
    "logging": (
        "hydra: {job_logging: {version: 1, handlers: {h: {class: logging.FileHandler, filename:"
        " TRACE}}}}"
    ),
    "dotted": "hydra.run.dir: TRACE",
    "package": "# @package hydra\ncallbacks: {x: {_target_: logging.FileHandler, filename: TRACE}}",
    "runtime": "runtime: {allowed_packages: [os, subprocess], outputs: TRACE}",
    "tag": "seed: !!python/object/apply:os.system ['touch TRACE']",
    "new": "seed: !!python/object/new:subprocess.Popen [[touch, TRACE]]",
    "target": "model: {name: x, _target_: subprocess.Popen, arguments: {args: [touch, TRACE]}}",
    "function": "model: {name: x, _target_: torch.hub.load}",
    "nested": (
        "model: {name: x, _target_: augean.models.vgg.VGG, arguments: {y: {_target_: os.system,"
        " command: x}}}"
    ),
    "interpolation": "model: {name: '${oc.env:HOME}', _target_: augean.models.vgg.VGG}",
    "name": "dataset: {name: ../../TRACE, _target_: augean.datasets.digits.Digits}",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_config_from_a_stranger_runs_no_code_and_leaves_no_file(
    kind: str, tmp_path: Path
) -> None:
    trace, folder = tmp_path / "trace", tmp_path / "run"
    folder.mkdir()
    text = FOREIGN[kind].replace("TRACE", str(trace))
    head = "" if kind == "package" else "defaults: [augean, _self_]\n"
    (folder / "config.yaml").write_text(f"{text}\n" if kind == "package" else f"{head}{text}\n")
    done = train("-cp", str(folder), "-cn", "config", f"runtime.outputs={tmp_path}/outputs")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not trace.exists()
    assert not list(tmp_path.glob("outputs/runs/*"))
    if kind not in ("tag", "new"):  # a composed config knows no tags either, see the command
        return
    with pytest.raises(AugeanError):
        compose([], folder=folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [
                "hydra.sweeper.n_trials=1",
                "optimizer.lr=tag(log,interval(0.1,1))",
                "hydra.sweeper.study_name=../../x",
            ],
            "study_name",
        ),
        (["hydra.sweeper.rows={a:['study:../../x']}"], "study:../../x"),
        (["dataset.name=../x,.."], "dataset.name"),
        (["model.name=../x", "seed=0,1"], "model.name"),
        (["optimizer.name='a/b'", "seed=0,1"], "optimizer.name"),
    ],
)
def test_no_name_in_a_sweep_leaves_the_output_folder(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    outputs = tmp_path / "a" / "b" / "outputs"
    setting = [item for item in TINY if not item.startswith("optimizer.lr")]
    done = train("-m", *arguments, *setting, f"runtime.outputs={outputs}")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] in ([], ["a"])
    outside = [
        path
        for path in (tmp_path / "a").rglob("*")
        if not path.is_relative_to(outputs) and path.is_file()
    ]
    assert outside == []


def test_class_names_and_titles_from_strangers_stay_text_in_the_report(tmp_path: Path) -> None:
    evil = ("<script>alert(1)", "\\input{x} & $y$", '=1+1,"a"', "new\nline")
    make_images(tmp_path / "data", evil, count=6)
    config = compose([
        *PHOTOS, f"runtime.data={tmp_path}/data", f"runtime.outputs={tmp_path}/outputs",
        'runtime.dataset_title="<img src=x onerror=alert(1)>"',
    ])  # fmt: skip
    execute(config)
    title = "<b>\\def\\x{}</b>\r<i>\u2028<u>\x00"
    write_record(
        tmp_path / "outputs",
        "one",
        [job_of(config)],
        title=title,
        command="x\r\r<script>alert(2)</script>",
    )
    result = make_report(tmp_path / "outputs")
    assert result.problems == []
    page = (result.directory / "index.html").read_text()
    assert page.count("<script>") == 1
    assert "<img src=x" not in page
    for file in (result.directory / "figures").glob("*.svg"):
        assert "<script" not in file.read_text()
    assert "\\def" not in (result.directory / "tables/one.tex").read_text()
    for name in (
        "report.md",
        "tables/one.tex",
    ):  # what stands after a break is no longer in its place
        assert not re.search("[\r\x00\u2028]", (result.directory / name).read_bytes().decode())


def test_class_names_that_are_no_text_are_refused_before_any_training(tmp_path: Path) -> None:
    make_images(tmp_path / "data", ("cat", os.fsdecode(b"dog\xff")), count=6)
    with pytest.raises(DataError, match="dog"):
        execute(
            compose(
                [*PHOTOS, f"runtime.data={tmp_path}/data", f"runtime.outputs={tmp_path}/outputs"]
            )
        )


def test_an_image_that_is_a_device_or_a_pipe_is_refused(tmp_path: Path) -> None:
    make_images(tmp_path / "data", count=6)
    image = tmp_path / "data/photos/train/cat/0.png"
    for make in (lambda: image.symlink_to("/dev/zero"), lambda: os.mkfifo(image)):
        image.unlink()
        make()
        with pytest.raises(DataError, match=r"0\.png"):
            build_source(compose([*PHOTOS, f"runtime.data={tmp_path}/data"])).digest()


# Other versions


def test_results_of_several_versions_in_one_table_are_flagged(tmp_path: Path) -> None:
    from fake_runs import VERSIONS, write_run

    jobs = [
        write_run(tmp_path, seed=seed, versions={**VERSIONS, "augean": f"0.{seed}"})
        for seed in (0, 1)
    ]
    write_record(tmp_path, "one", jobs)
    result = make_report(tmp_path)
    assert "Mixed versions" in (result.directory / "report.md").read_text()


def test_a_record_of_another_schema_is_refused_by_name(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "outputs")
    (file,) = (tmp_path / "outputs").glob("sweeps/*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 7}))
    done = status(tmp_path / "outputs")
    assert done.returncode == 2
    assert f"{file}: sweep record of schema 7, this Augean reads 1" in done.stderr


def test_a_raised_schema_or_core_number_is_another_run(
    tiny: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_address(tiny()).id
    ids = {before}
    for name in ("SCHEMA", "CORE"):
        with monkeypatch.context() as patch:
            patch.setattr(f"augean.config.run_id.{name}", 99)
            ids.add(find_address(tiny()).id)
    assert len(ids) == 3


def test_a_second_interrupt_while_a_checkpoint_is_written_leaves_the_one_before(
    tiny: Make, train_until: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_until(tiny(), 2)
    path, write = find_address(tiny()).path, write_atomic

    def interrupted(file: Path, content: str | bytes, *, sync: bool = True) -> None:
        if file.name == CHECKSUMS:
            raise Interrupted
        write(file, content, sync=sync)

    before = (path / CHECKPOINT).read_bytes()
    with monkeypatch.context() as patch:
        replace_everywhere(patch, write_atomic, interrupted)
        with pytest.raises(SystemExit):
            execute(tiny())
    assert load_checkpoint(path)[0] == before
    address = find_address(tiny())
    assert not is_locked(address.outputs, address.id)
    assert execute(tiny()).summary.status == "finished"
