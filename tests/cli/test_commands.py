"""The commands as a whole: what they load, what their help shows, and how words are read."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from augean.cli.main import build_parser, parse
from augean.cli.parser import check_output, read_sweep_arguments
from augean.cli.train import hydra_words
from augean.errors import AugeanError
from augean.store.locks import hold_lock
from augean.store.run_directory import runs_dir
from augean.store.run_progress import RunProgress
from commands import augean
from conftest import TINY
from fake_runs import write_record, write_run

HEAVY = {"torch", "pandas", "hydra", "matplotlib", "optuna"}


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["status"], ["status", "--help"]])
def test_a_quick_command_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = (
        "import atexit, sys; from augean.cli.main import main; "
        "atexit.register(lambda: print('loaded:', *sys.modules)); main()"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.partition("loaded:")[2].split()
    assert "augean.cli.main" in loaded
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("command", ["report", "settle", "evaluate", "pack", "bench"])
def test_the_help_of_a_command_ends_with_its_exit_codes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args([command, "--help"])
    page = capsys.readouterr().out
    assert page.index("usage:") < page.index("exit codes: 0 done;")
    assert "examples:\n\n" not in page, "a heading without examples"


@pytest.mark.parametrize(
    "line",
    [
        "status a x=1 y=2 --outputs o",
        "status --outputs o a x=1 y=2",
        "status a --outputs o x=1 y=2",
        "status a x=1 --outputs o y=2",
        "status x=1 a y=2 --outputs o",
        "status a --outputs o -- x=1 y=2",
        "status --outputs o -- a x=1 y=2",
        "status -cn a x=1 y=2 --outputs o",
        "settle a --outputs o -- x=1 y=2",
        "settle a x=1 --outputs o y=2",
        "settle --outputs o a x=1 y=2",
    ],
)
def test_the_words_of_a_sweep_stand_in_any_order(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["augean", *line.split()])
    arguments = parse(build_parser())
    assert read_sweep_arguments(arguments) == ("a", ["x=1", "y=2"])
    assert arguments.outputs == Path("o")


@pytest.mark.parametrize(
    "line",
    [
        "predict r --allow shapes --allow nets a.png b.png",
        "predict r a.png b.png --allow shapes --allow nets",
        "predict r --allow shapes a.png --allow nets b.png",
        "predict --allow shapes --allow nets r a.png b.png",
    ],
)
def test_an_option_takes_one_value_and_leaves_the_images(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["augean", *line.split()])
    arguments = parse(build_parser())
    assert (arguments.run, arguments.images) == ("r", ["a.png", "b.png"])
    assert arguments.allow == ["shapes", "nets"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("table1 a=b", "-cn table1 a=b"),
        ("a=b table1 ~c", "-cn table1 a=b ~c"),
        ("-cd mine table", "-cn table -cd mine"),
        ("-cd mine -cn table a=b", "-cd mine -cn table a=b"),
        ("-m a=b,c", "-m a=b,c"),
        ("a=b,c --multirun", "a=b,c --multirun"),
    ],
)
def test_a_sweep_is_submitted_in_the_words_of_a_launch(line: str, words: str) -> None:
    assert hydra_words(["submit", *line.split()]) == ["launcher=slurm", *words.split()]


def test_a_grid_on_the_command_line_is_previewed_and_then_found_by_its_own_words(
    tmp_path: Path,
) -> None:
    outputs = tmp_path / "outputs"
    grid = ["-m", *TINY, "trainer.epochs=1", "activation=relu,elu"]
    done = augean("status", *grid, "--outputs", str(outputs))
    assert done.returncode == 0, done.stderr
    assert "not launched yet" in done.stdout
    assert "2 runs: 2 missing" in done.stdout
    assert not outputs.exists()
    trained = augean("train", *grid, f"runtime.outputs={outputs}")
    assert trained.returncode == 0, trained.stderr
    override = f"runtime.outputs={outputs}"
    for place in (["--outputs", str(outputs)], [override], [f"++{override}"]):
        shown = augean("status", *grid, *place).stdout
        assert "2 finished" in shown
        assert "not launched yet" not in shown
    other = augean("status", *grid, "seed=1", "--outputs", str(outputs))
    assert "2 runs: 2 missing" in other.stdout


def test_status_takes_the_name_of_a_launched_sweep_with_m_too(tmp_path: Path) -> None:
    write_record(tmp_path, "table", [write_run(tmp_path, row="elu")])
    shown = augean("status", "table", "-m", "--outputs", str(tmp_path))
    assert shown.returncode == 0, shown.stderr
    assert "1 finished" in shown.stdout


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_sweep_file_in_another_encoding_is_named(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("# für alle\ndefaults: [config, _self_]\n", encoding=encoding)
    place = ["-cd", str(tmp_path)]
    for words in (["train", *place, "-cn", "mine"], ["settle", *place, "mine"]):
        done = augean(*words, cwd=tmp_path)
        assert done.returncode == 1
        assert f"{file}: " in done.stderr
        assert "UTF-8" in done.stderr


def test_status_tells_sweeps_of_one_title_apart_by_their_overrides(tmp_path: Path) -> None:
    for index, overrides in enumerate((["activation=relu,elu"], ["activation=relu,gelu"])):
        jobs = [write_run(tmp_path, seed=index)]
        name = f"activation--{index}"
        write_record(tmp_path, name, jobs, title="Activations", overrides=overrides)
    first, second = augean("status", "--outputs", str(tmp_path)).stdout.splitlines()
    assert "activation=relu,elu" in first
    assert "activation=relu,gelu" in second


def test_status_and_settle_look_where_the_sweep_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "there")
    place = "runtime: {outputs: '${oc.env:PLACE}', table: {baseline: elu}}"
    rows = "hydra: {sweeper: {rows: {elu: [activation=elu], relu: [activation=relu]}}}"
    (tmp_path / "mine.yaml").write_text(f"defaults: [config, _self_]\n{place}\n{rows}\n")
    jobs = [write_run(tmp_path / "there", accuracy=0.9, seed=seed, row="elu") for seed in (0, 1)]
    write_record(tmp_path / "there", "mine", jobs, baseline="elu")
    file = ["-cd", ".", "mine"]
    assert "mine (mine): 2 finished" in augean("status", *file, cwd=tmp_path).stdout
    # The record is found: its runs are other ones than the file's, which was launched all the same.
    done = augean("settle", *file, "--dry-run", cwd=tmp_path)
    assert "has changed since: 2 runs missing" in done.stdout, done.stderr
    done = augean("status", *file, "--outputs", "outputs", cwd=tmp_path)
    assert "not launched yet" in done.stdout


def test_status_shows_how_far_a_run_in_training_is(tmp_path: Path) -> None:
    jobs = [write_run(tmp_path, state="interrupted", seed=seed, row="elu") for seed in (0, 1)]
    write_record(tmp_path, "table1", jobs)
    for job in jobs:
        RunProgress(
            epoch=4, epochs=12, fraction=0.3, seconds_left=200.0, val_accuracy=0.7123
        ).write(runs_dir(tmp_path) / job["run"])
    # The other was killed, and left its file behind.
    with hold_lock(tmp_path, jobs[0]["id"], wait=False):
        done = augean("status", "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "epoch" in line)
    assert line == "  elu, seed 0: epoch 4 of 12, validation 71.23%, about 3 min 20 s left"


def test_unpack_says_what_was_done_with_how_many_runs(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / "outputs", seed=seed)
    write_run(tmp_path / "there", seed=0)
    write_run(tmp_path / "there", seed=1, state="interrupted")
    archive = str(tmp_path / "runs.tar.xz")
    assert augean("pack", "--outputs", str(tmp_path / "outputs"), "--to", archive).returncode == 0
    unpack = ["unpack", archive, "--outputs", str(tmp_path / "there")]
    assert (
        augean(*unpack).stdout == f"{tmp_path}/there: 1 run added, 1 completed, 1 kept as it was\n"
    )
    assert augean(*unpack).stdout == f"{tmp_path}/there: 3 runs kept as they were\n"


def test_pack_replaces_an_archive_and_no_other_file(tmp_path: Path) -> None:
    write_run(tmp_path / "outputs")
    archive = tmp_path / "runs.tar.xz"
    words = ["pack", "--outputs", str(tmp_path / "outputs"), "--to", str(archive)]
    assert "in place of" not in augean(*words).stdout
    assert "in place of the older archive of that name" in augean(*words).stdout
    packed = archive.read_bytes()
    # An archive that was cut is one all the same.
    archive.write_bytes(packed[: len(packed) // 2])
    assert augean(*words).returncode == 0
    with tarfile.open(archive, "w:xz") as other:
        other.add(Path(__file__), "notes.py")
    for content in (b"notes", archive.read_bytes()):
        archive.write_bytes(content)
        done = augean(*words)
        assert done.returncode == 1
        assert f"{archive}: exists and is not an archive of augean pack; remove it" in done.stderr
        assert archive.read_bytes() == content


def test_the_folder_of_an_output_is_made_before_the_work(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "folder" / "result.json")
    assert (tmp_path / "new" / "folder").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(AugeanError, match="cannot make its folder"):
        check_output(tmp_path / "file" / "result.json")


def test_pack_to_the_folder_itself_is_told_a_name(tmp_path: Path) -> None:
    done = augean("pack", "--to", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "argument --to: .: an archive is a .tar.xz; name it runs.tar.xz" in done.stderr


@pytest.mark.parametrize("name", ["runs.zip", "runs.tar.gz", "runs"])
def test_pack_refuses_a_name_that_says_another_format(name: str, tmp_path: Path) -> None:
    write_run(tmp_path / "outputs")
    done = augean("pack", "--to", str(tmp_path / name), cwd=tmp_path)
    assert done.returncode == 2
    assert (
        f"{tmp_path / name}: an archive is a .tar.xz; name it {tmp_path}/runs.tar.xz" in done.stderr
    )
    assert not (tmp_path / name).exists()
