"""The code of the moment of submission is what runs, and several runs fit into one job."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from augean.config.code_digest import module_code
from augean.config.schema import Config
from augean.errors import SetupError
from augean.runs.address import find_address
from augean.runs.code_snapshot import CODE, snapshot_code, use_snapshot
from augean.store.locks import hold_lock
from augean.sweeps.slurm import Pack, pack_work

Make = Callable[..., Config]
TARGET = ("activation._target_=mine.act.Own", "runtime.allowed_packages=[mine]")


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write a package `mine` that imports from beside it; return the folder on Python's path."""
    root = tmp_path / "code"
    (root / "mine").mkdir(parents=True)
    (root / "mine" / "__init__.py").write_text("")
    (root / "mine" / "act.py").write_text(
        "import torch\nimport beside\n\n\nclass Own(torch.nn.ReLU):\n    pass\n"
    )
    (root / "mine" / "table.csv").write_text("1,2\n")
    (root / "beside.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.delenv(CODE, raising=False)
    before = sys.path[:]
    yield root
    sys.path[:] = before
    os.environ.pop(CODE, None)
    forget()


def forget() -> None:
    """Forget what was imported and read of the own code."""
    for name in ("mine", "mine.act", "beside"):
        sys.modules.pop(name, None)
    module_code.cache_clear()


def test_a_copy_has_the_code_and_links_to_the_rest(
    own_code: Path, tiny: Make, tmp_path: Path
) -> None:
    code = snapshot_code([tiny(*TARGET)], tmp_path / "copies")
    assert code is not None
    copy = Path(code)
    for name in ("mine/__init__.py", "mine/act.py", "beside.py"):
        assert (copy / name).read_bytes() == (own_code / name).read_bytes()
        assert not (copy / name).is_symlink()
    assert (copy / "mine" / "table.csv").is_symlink()
    assert (copy / "mine" / "table.csv").read_text() == "1,2\n"


def test_equal_code_is_copied_once_and_other_code_beside_it(
    own_code: Path, tiny: Make, tmp_path: Path
) -> None:
    config = tiny(*TARGET)
    first = snapshot_code([config, config], tmp_path / "copies")
    assert snapshot_code([config], tmp_path / "copies") == first
    (own_code / "beside.py").write_text("VALUE = 2\n")
    assert snapshot_code([config], tmp_path / "copies") != first
    assert len(list((tmp_path / "copies").iterdir())) == 2


def test_a_file_of_data_that_is_added_later_is_in_the_next_copy(
    own_code: Path, tiny: Make, tmp_path: Path
) -> None:
    config = tiny(*TARGET)
    first = snapshot_code([config], tmp_path / "copies")
    address = find_address(config).id
    (own_code / "mine" / "data").mkdir()
    (own_code / "mine" / "data" / "more.csv").write_text("3\n")
    second = snapshot_code([config], tmp_path / "copies")
    assert second is not None
    assert second != first
    assert (Path(second) / "mine" / "data" / "more.csv").read_text() == "3\n"
    # Data beside the code is no part of the run.
    assert find_address(config).id == address
    # What is in no copy makes no new one.
    (own_code / "mine" / ".hidden.py").write_text("A = 1\n")
    (own_code / "mine" / "__pycache__").mkdir(exist_ok=True)
    (own_code / "mine" / "__pycache__" / "act.pyc").write_bytes(b"compiled")
    assert snapshot_code([config], tmp_path / "copies") == second


def test_a_link_to_nothing_is_copied_as_a_link(own_code: Path, tiny: Make, tmp_path: Path) -> None:
    # Data may lie where only the machine of the job has it.
    (own_code / "mine" / "data").symlink_to(tmp_path / "scratch")
    code = snapshot_code([tiny(*TARGET)], tmp_path / "copies")
    assert code is not None
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "1.txt").write_text("1")
    assert (Path(code) / "mine" / "data" / "1.txt").read_text() == "1"


def test_a_link_to_a_folder_that_holds_it_is_not_followed(
    own_code: Path, tiny: Make, tmp_path: Path
) -> None:
    (own_code / "mine" / "again").symlink_to(own_code / "mine")
    code = snapshot_code([tiny(*TARGET)], tmp_path / "copies")
    assert code is not None
    assert (Path(code) / "mine" / "act.py").is_file()
    assert not (Path(code) / "mine" / "again").exists()


def test_without_own_code_nothing_is_copied(tiny: Make, tmp_path: Path) -> None:
    assert snapshot_code([tiny()], tmp_path / "copies") is None
    assert not (tmp_path / "copies").exists()


def test_a_job_runs_the_code_of_its_submission_and_has_its_address(
    own_code: Path, tiny: Make, tmp_path: Path
) -> None:
    config = tiny(*TARGET)
    submitted = find_address(config).id
    code = snapshot_code([config], tmp_path / "copies")
    assert code is not None
    (own_code / "mine" / "act.py").write_text("raise RuntimeError('edited in the queue')\n")
    (own_code / "beside.py").unlink()
    forget()  # a job's process has imported nothing of it before
    use_snapshot(code)
    assert find_address(config).id == submitted
    # Child processes, such as a study's worker, import the copy too.
    script = "from augean.runs.code_snapshot import use_snapshot; use_snapshot(); import mine.act"
    child = subprocess.run([sys.executable, "-c", script], cwd=own_code, env={**os.environ})
    assert child.returncode == 0


def test_a_worker_of_a_study_imports_the_copy_before_its_own_folder(
    own_code: Path, tiny: Make, tmp_path: Path
) -> None:
    code = snapshot_code([tiny(*TARGET)], tmp_path / "copies")
    assert code is not None
    (own_code / "mine" / "act.py").write_text("raise RuntimeError('edited in the queue')\n")
    command = [
        sys.executable, "-m", "augean", "train", *TARGET, "activation.name=own", "--cfg", "job"
    ]  # fmt: skip
    environment = {**os.environ, CODE: code}
    done = subprocess.run(command, cwd=own_code, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Log:
    """Work that notes when it is done."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def work(self, *names: str) -> dict[str, Callable[[], object]]:
        return {name: (lambda name=name: self.done.append(name)) for name in names}  # type: ignore[misc]


IDS = [f"{number:010x}" for number in range(10)]


def test_runs_are_packed_in_order(tiny: Make) -> None:
    runtime = tiny("launcher=slurm", "runtime.launcher.runs_per_job=4").runtime
    log = Log()
    packs = pack_work(log.work(*IDS), runtime)
    assert [len(key.split(",")) for key in packs] == [4, 4, 2]
    for pack in packs.values():
        pack()
    assert log.done == IDS
    single = tiny("launcher=slurm").runtime
    assert list(pack_work(log.work(*IDS), single)) == IDS


def test_what_another_process_trains_comes_last(tmp_path: Path) -> None:
    log = Log()
    with hold_lock(tmp_path, IDS[0], wait=False):
        Pack(work=log.work(*IDS[:3]), outputs=tmp_path)()
    assert log.done == [IDS[1], IDS[2], IDS[0]]


def test_a_run_that_fails_does_not_stop_the_others_of_its_job(tmp_path: Path) -> None:
    log = Log()

    def fail() -> None:
        raise ValueError("bad")

    with pytest.raises(SystemExit, match="1"):
        Pack(work={IDS[9]: fail, **log.work(*IDS[:2])}, outputs=tmp_path)()
    assert log.done == IDS[:2]

    def nobody_can() -> None:
        raise SetupError("no data")

    with pytest.raises(SetupError):
        Pack(work={IDS[9]: nobody_can, **log.work(*IDS[2:4])}, outputs=tmp_path)()
    assert log.done == IDS[:2]


def test_the_time_limit_ends_the_job_at_once(tmp_path: Path) -> None:
    log = Log()

    def leave() -> None:
        raise SystemExit(138)

    with pytest.raises(SystemExit, match="138"):
        Pack(work={IDS[9]: leave, **log.work(*IDS[:2])}, outputs=tmp_path)()
    assert log.done == []
