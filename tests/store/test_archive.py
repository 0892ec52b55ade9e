"""Runs travel without their weights and count as finished; merging never harms what is there."""

import json
import os
import shutil
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from augean.config.schema import Config
from augean.errors import AugeanError
from augean.report import load_runs, make_report
from augean.runs.address import find_address, find_outcome
from augean.runs.execute import execute
from augean.store.archive.members import RUN_FILES, Limits
from augean.store.archive.merge import MergedRun
from augean.store.archive.packing import pack, unpack
from augean.store.checkpoints import save_checkpoint
from augean.store.locks import hold_lock
from augean.store.run_directory import runs_dir
from augean.store.run_files import UNPACKED
from augean.store.summary import read_summary
from augean.store.sweep_record import SweepJob, SweepRecord, read_record
from augean.sweeps.studies.journal import Journal
from fake_archives import read_archive, write_archive
from fake_runs import contents, sign, write_examples, write_record, write_run


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """An archive with one finished run, of which `outputs` has everything."""
    write_run(tmp_path / "outputs", seed=0)
    pack(tmp_path / "outputs", tmp_path / "runs.tar.xz")
    return tmp_path / "runs.tar.xz"


def run_in(outputs: Path) -> Path:
    return next(runs_dir(outputs).glob("[!.]*"))


def study(outputs: Path, states: list[str], name: str = "tune", journal: bytes = b"") -> None:
    jobs = [
        SweepJob(f"{i:010x}", f"x-{i:010x}", f"trial {i}", 0, i, state, 0.5)
        for i, state in enumerate(states)
    ]
    SweepRecord(
        name=name, title="T", command="c", created="now", jobs=jobs, kind="study", num_trials=9
    ).write(outputs)
    (outputs / "studies").mkdir(parents=True, exist_ok=True)
    (outputs / "studies" / f"{name}.journal").write_bytes(journal)


def test_a_packed_run_is_finished_elsewhere_and_an_unfinished_one_is_trained_there(
    tiny: Callable[..., Config], train_until: Callable[[Config, int], None], tmp_path: Path
) -> None:
    config, broken = tiny(), tiny("seed=1")
    trained = execute(config)
    train_until(broken, 2)
    assert pack(tmp_path / "outputs", tmp_path / "runs.tar.xz") == []
    elsewhere = [f"runtime.outputs={tmp_path}/elsewhere"]
    assert unpack(tmp_path / "runs.tar.xz", tmp_path / "elsewhere").runs == {MergedRun.ADDED: 2}
    names = [path.name for path in (tmp_path / "elsewhere").rglob("*.pt*")]
    assert names == []
    again = execute(tiny(*elsewhere))
    assert again.skipped
    assert again.summary == trained.summary
    before = contents(again.address.path)
    assert execute(tiny(*elsewhere)).skipped
    assert contents(again.address.path) == before
    resumed = execute(tiny("seed=1", *elsewhere))
    assert not resumed.skipped
    assert resumed.summary.test_accuracy == execute(broken).summary.test_accuracy


def test_the_report_says_the_same_of_packed_runs(tmp_path: Path) -> None:
    states = ("finished", "finished", "diverged", "failed", "interrupted", "missing")
    jobs = [
        write_run(tmp_path / "here", seed=seed, state=state) for seed, state in enumerate(states)
    ]
    write_record(tmp_path / "here", "sweep", jobs)
    assert pack(tmp_path / "here", tmp_path / "runs.tar.xz") == []
    unpack(tmp_path / "runs.tar.xz", tmp_path / "there")
    assert load_runs(tmp_path / "here").equals(load_runs(tmp_path / "there"))
    names = ("runs.csv", "report.md", "tables/sweep.csv")
    contents = []
    # In one place after the other: the commands of a report name its folder.
    for folder in ("here", "there"):
        outputs = (tmp_path / folder).rename(tmp_path / "outputs")
        directory = make_report(outputs).directory
        contents.append([(directory / name).read_bytes() for name in names])
        outputs.rename(tmp_path / f"{folder} before")
    assert contents[0] == contents[1]


def test_the_same_runs_make_the_same_archive(tmp_path: Path) -> None:
    write_examples(tmp_path / "here")
    pack(tmp_path / "here", tmp_path / "a.tar.xz")
    unpack(tmp_path / "a.tar.xz", tmp_path / "there")
    for path in (tmp_path / "there").rglob("*"):
        os.utime(path, (1, 1))
    pack(tmp_path / "there", tmp_path / "b.tar.xz")
    assert (tmp_path / "a.tar.xz").read_bytes() == (tmp_path / "b.tar.xz").read_bytes()


def test_only_weights_may_be_missing(tmp_path: Path) -> None:
    write_run(tmp_path / "all")
    path = run_in(tmp_path / "all")
    (path / "best.pt").write_bytes(b"weights")
    sign(path)
    assert set(json.loads((path / "summary.json").read_text())["files"]) >= {
        "best.pt",
        "metrics.csv",
        "confusion.csv",
    }
    for name in ("best.pt", "metrics.csv", "config.yaml", "confusion.csv", "summary.json"):
        for change in ("altered", "missing"):
            outputs = tmp_path / f"{change}-{name}"
            shutil.copytree(tmp_path / "all", outputs)
            file = run_in(outputs) / name
            file.write_bytes(file.read_bytes() + b" {") if change == "altered" else file.unlink()
            write_record(outputs, "sweep", [])  # so that there is something to pack
            damaged = pack(outputs, tmp_path / "runs.tar.xz")
            # Without a summary a run is unfinished and not damaged.
            fine = change == "missing" and name in ("best.pt", "summary.json")
            assert len(damaged) == (0 if fine else 1), (name, change)
            assert fine or name in damaged[0]
            assert fine == any(
                member.startswith("runs/") for member in read_archive(tmp_path / "runs.tar.xz")
            )


def test_an_archive_with_a_damaged_run_is_refused_before_anything_is_merged(
    packed: Path, tmp_path: Path
) -> None:
    files = read_archive(packed)
    write_run(tmp_path / "more", seed=1)
    pack(tmp_path / "more", tmp_path / "more.tar.xz")
    files |= read_archive(tmp_path / "more.tar.xz")
    names = [name for name in files if not name.endswith(("train.log", "failure.txt"))]
    assert len(names) == 12
    for name in names:
        damaged = {**files, name: files[name].replace(b"0", b"1").replace(b"_", b"-")}
        write_archive(tmp_path / "damaged.tar.xz", damaged)
        with pytest.raises(AugeanError, match=r"altered|the key .* twice"):
            unpack(tmp_path / "damaged.tar.xz", tmp_path / "target")
    assert contents(tmp_path / "target") == {}


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "/tmp/evil.txt",
        "runs/../../evil.txt",
        "runs/a-0123456789/../../../evil.txt",
        "runs/a-0123456789/best.pt",
        "runs/a-0123456789/checkpoint.pt",
        "runs/a-0123456789/evil.py",
        "runs/a-0123456789/deep/metrics.csv",
        "runs/.a-0123456789/metrics.csv",
        "runs/no-id/metrics.csv",
        "sweeps/..json",
        "sweeps/../evil.json",
        "studies/.journal",
        "locks/a.lock",
        "evil.txt",
        "runs/a\n-0123456789/metrics.csv",
    ],
)
def test_a_foreign_name_is_refused_and_nothing_is_written(
    name: str, packed: Path, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path / "evil.tar.xz", {**read_archive(packed), name: b"{}"})
    before = contents(tmp_path)
    with pytest.raises(AugeanError, match="no `augean pack` writes"):
        unpack(archive, tmp_path / "in" / "target")
    assert contents(tmp_path) == before


def test_a_file_too_large_for_memory_is_refused_before_it_is_unpacked(
    packed: Path, tmp_path: Path
) -> None:
    name = "sweeps/evil.json"
    archive = write_archive(
        tmp_path / "evil.tar.xz", {**read_archive(packed), name: b" " * (2**20 + 1)}
    )
    with pytest.raises(AugeanError, match=r"sweeps/evil\.json has 1 MiB; not unpacked"):
        unpack(archive, tmp_path / "target", Limits(member_bytes=2**20))
    assert contents(tmp_path / "target") == {}


def test_what_unpack_would_refuse_is_left_out_with_its_reason(tmp_path: Path) -> None:
    study(tmp_path / "here", [], "small", b" " * 2**20)
    study(tmp_path / "here", [], "large", b" " * (2**20 + 1))
    study(tmp_path / "here", [], "bad\nname", b" ")
    left_out = pack(tmp_path / "here", tmp_path / "a.tar.xz", Limits(member_bytes=2**20))
    names = {name for name in read_archive(tmp_path / "a.tar.xz") if name.startswith("studies/")}
    assert names == {"studies/small.journal"}
    assert any("large.journal: cannot be read (more than 1 MiB," in line for line in left_out)
    assert any("is not among the files that Augean writes; left out" in line for line in left_out)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_only_plain_files_are_unpacked(kind: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar.xz", "w:xz") as tar:
        entry = tarfile.TarInfo("runs/a-0123456789/config.yaml")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(AugeanError, match="no `augean pack` writes"):
        unpack(tmp_path / "evil.tar.xz", tmp_path / "target")
    assert contents(tmp_path / "target") == {}


def test_a_record_of_another_name_than_its_file_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path / "here", "sweep", [])
    content = (
        (tmp_path / "here/sweeps/sweep.json").read_bytes().replace(b'"sweep"', b'"../../evil"', 1)
    )
    with pytest.raises(AugeanError, match=r"the record of another sweep, \.\./\.\./evil"):
        unpack(
            write_archive(tmp_path / "evil.tar.xz", {"sweeps/sweep.json": content}),
            tmp_path / "target",
        )
    assert not list(tmp_path.rglob("evil.json"))


def test_records_that_could_not_be_unpacked_are_not_packed(tmp_path: Path) -> None:
    write_record(tmp_path / "here", "sweep", [])
    shutil.copyfile(tmp_path / "here/sweeps/sweep.json", tmp_path / "here/sweeps/old.json")
    (tmp_path / "here/sweeps/torn.json").write_text("{")
    damaged = pack(tmp_path / "here", tmp_path / "runs.tar.xz")
    assert [message.split(":")[0] for message in damaged] == [
        f"{tmp_path}/here/sweeps/{n}.json" for n in ("old", "torn")
    ]
    assert list(read_archive(tmp_path / "runs.tar.xz")) == ["sweeps/sweep.json"]
    assert unpack(tmp_path / "runs.tar.xz", tmp_path / "there").remarks == []


def test_a_summary_of_another_run_is_refused(packed: Path, tmp_path: Path) -> None:
    identity = run_in(tmp_path / "outputs").name[-10:]
    files = {
        name.replace(identity, "0" * 10): content for name, content in read_archive(packed).items()
    }
    with pytest.raises(AugeanError, match="of another run"):
        unpack(write_archive(tmp_path / "other.tar.xz", files), tmp_path / "target")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9])
def test_what_is_no_whole_archive_is_refused(share: float, packed: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar.xz"
    cut.write_bytes(packed.read_bytes()[: int(share * packed.stat().st_size)])
    with pytest.raises(AugeanError, match="no archive of runs that can be read"):
        unpack(cut, tmp_path / "target")
    with pytest.raises(AugeanError, match="no archive of runs that can be read"):
        unpack(tmp_path / "absent.tar.xz", tmp_path / "target")
    assert contents(tmp_path / "target") == {}


def test_an_empty_folder_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(AugeanError, match=r"no runs to pack.*runtime\.outputs"):
        pack(tmp_path, tmp_path / "runs.tar.xz")


def test_a_finished_run_is_never_overwritten(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "outputs", tmp_path / "target")
    path = run_in(tmp_path / "target")
    sign(path, test_accuracy=0.123)
    before = contents(tmp_path / "target")
    assert unpack(packed, tmp_path / "target").runs == {MergedRun.KEPT: 1}
    assert contents(tmp_path / "target") == before


def test_an_unfinished_run_gives_way_to_a_finished_one_and_never_the_other_way(
    packed: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    shutil.copytree(tmp_path / "outputs", target)
    path = run_in(target)
    (path / "summary.json").unlink()
    (path / "metrics.csv").write_text("epoch\n")
    (path / "failure.txt").write_text("out of memory\n")
    save_checkpoint(path, b"state")
    assert pack(target, tmp_path / "unfinished.tar.xz") == []
    # Left by a process that was killed while the run ended: the packed run has others, or none.
    (path / "correct.npy").write_bytes(b"other answers")
    (path / "state.pt").write_bytes(b"other state")
    merged = unpack(tmp_path / "unfinished.tar.xz", tmp_path / "outputs")
    assert merged.runs == {MergedRun.KEPT: 1}
    assert read_summary(run_in(tmp_path / "outputs"))
    assert unpack(packed, target).runs == {MergedRun.COMPLETED: 1}
    (path / UNPACKED).unlink()  # its mark
    assert contents(path) == contents(run_in(tmp_path / "outputs"))
    assert make_report(target).problems == []


def test_a_run_that_is_being_trained_is_left_alone(packed: Path, tmp_path: Path) -> None:
    path = run_in(tmp_path / "outputs")
    (path / "summary.json").unlink()
    before = contents(tmp_path / "outputs")
    with hold_lock(tmp_path / "outputs", path.name[-10:], wait=False):
        merged = unpack(packed, tmp_path / "outputs")
    assert merged.runs == {}
    assert "is being trained here" in merged.remarks[0]
    assert contents(tmp_path / "outputs") == before


def test_grids_of_one_name_become_one(tmp_path: Path) -> None:
    for name, seeds in (("a", (0, 1)), ("b", (1, 2))):
        jobs = [write_run(tmp_path / name, seed=seed, row="x") for seed in seeds]
        write_record(tmp_path / name, "sweep", jobs, title=name)
    pack(tmp_path / "b", tmp_path / "b.tar.xz")
    merged = unpack(tmp_path / "b.tar.xz", tmp_path / "a")
    assert merged.runs == {MergedRun.ADDED: 1, MergedRun.KEPT: 1}
    record = read_record(tmp_path / "a/sweeps/sweep.json")
    assert (record.title, [job.seed for job in record.jobs]) == ("a", [0, 1, 2])
    assert record.states(tmp_path / "a") == {"finished": 3}
    before = contents(tmp_path / "a")
    unpack(tmp_path / "b.tar.xz", tmp_path / "a")
    assert contents(tmp_path / "a") == before


def test_of_two_states_of_a_study_the_later_one_stays(tmp_path: Path) -> None:
    study(tmp_path / "early", ["complete", "running"], journal=b"one\n")
    study(tmp_path / "late", ["complete", "complete", "pruned"], journal=b"one\ntwo\n")
    for name in ("early", "late"):
        pack(tmp_path / name, tmp_path / f"{name}.tar.xz")
    late = contents(tmp_path / "late")
    for order in (("early", "late"), ("late", "early"), ("late", "late")):
        target = tmp_path / "-".join(order)
        assert [unpack(tmp_path / f"{name}.tar.xz", target).remarks for name in order] == [[], []]
        assert contents(target) == late


def test_a_study_is_not_replaced_while_a_worker_writes_to_it(tmp_path: Path) -> None:
    study(tmp_path / "late", ["complete"], journal=b"one\ntwo\n")
    pack(tmp_path / "late", tmp_path / "late.tar.xz")
    study(tmp_path / "here", ["running"])
    path = tmp_path / "here" / "studies" / "tune.journal"
    path.unlink()
    journal = Journal(str(path))
    unpacking = threading.Thread(target=unpack, args=(tmp_path / "late.tar.xz", tmp_path / "here"))
    with journal.lock:
        unpacking.start()
        unpacking.join(timeout=0.5)
        assert unpacking.is_alive()
        assert path.read_bytes() == b""
    unpacking.join(timeout=60)
    assert path.read_bytes() == b"one\ntwo\n"


def test_another_study_of_that_name_is_kept_out_and_named(tmp_path: Path) -> None:
    study(tmp_path / "ours", ["complete"], journal=b"ours\n")
    study(tmp_path / "theirs", ["complete", "complete"], journal=b"theirs\n")
    file = tmp_path / "theirs/sweeps/tune.json"
    record = read_record(file)
    replace(record, jobs=[replace(job, id=job.id.replace("0", "f")) for job in record.jobs]).write(
        tmp_path / "theirs"
    )
    pack(tmp_path / "theirs", tmp_path / "theirs.tar.xz")
    before = contents(tmp_path / "ours")
    merged = unpack(tmp_path / "theirs.tar.xz", tmp_path / "ours")
    assert len(merged.remarks) == 2
    assert contents(tmp_path / "ours") == before


def test_every_file_of_a_real_run_is_packed_but_weights(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    """A new file of the run directory must be named in RUN_FILES, or be weights."""
    config = tiny("record.step_loss=true", "record.probe_every=5", "trainer.epochs=1")
    path = execute(config).address.path
    assert {file.name for file in path.iterdir()} - set(RUN_FILES) == {"best.pt"}
    assert find_outcome(find_address(config)) is not None
