"""The report of outdated runs, and the commands that it prints."""

import re
import shlex
from html import unescape
from pathlib import Path

import pandas
import pytest

import commands
from augean.report import load_runs
from augean.report.write import make_report
from fake_runs import sign, write_record, write_run
from page_data import page_commands, page_data


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs of a row whose code has changed, one whose code is not here, one as it was."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "act.py").write_text("SLOPE = 0.2\n")
    outputs = tmp_path / "outputs"
    jobs = [
        write_run(outputs, seed=seed, row=row, activation__name=row, files=False)
        for row, seed in (("own", 0), ("own", 1), ("gone", 0), ("elu", 0))
    ]
    for job, file in zip(jobs, ("mine/act.py", "mine/act.py", "lost/act.py"), strict=False):
        path = outputs / "runs" / job["run"]
        sign(path, code_digests={file: "0" * 16}, places={"start": "..", "data": "../data"})
    write_record(outputs, "acts", jobs, row_key="activation.name", baseline="elu")
    return outputs


def test_a_report_says_which_rows_are_outdated_and_how_to_train_them_anew(outputs: Path) -> None:
    folder = make_report(outputs).directory
    sentences = [
        "Outdated: mine/act.py has changed since 2 runs of row own were trained.",
        "Whether 1 run of row gone was trained before a change is unknown: lost/act.py is not here",
    ]
    again = "python train.py -cd sweeps -cn acts"
    for file in ("report.md", "index.html"):
        text = " ".join(unescape((folder / file).read_text()).split()).replace("\\_", "_")
        for sentence in sentences:
            assert sentence in text, file
        assert "This trains the outdated runs anew" in text
        assert again in text
    table = pandas.read_csv(folder / "tables" / "acts.csv").set_index("row")
    assert table.outdated.to_dict() == {"own": 2, "gone": 0, "elu": 0}
    reasons = page_data(folder)["outdated"].values()
    assert list(reasons) == ["mine/act.py has changed"] * 2


def test_all_runs_are_not_listed_by_their_rows(outputs: Path) -> None:
    text = (make_report(outputs, "activation.name=own").directory / "report.md").read_text()
    assert "Outdated: mine/act.py has changed since all 2 runs were trained." in text


def test_outdated_is_a_column_beside_the_state_to_select_by(outputs: Path) -> None:
    runs = load_runs(outputs)
    assert sorted(runs.outdated) == ["no", "unknown", "yes", "yes"]
    assert set(runs.state) == {"finished"}
    assert len(load_runs(outputs, "outdated=yes")) == 2


def test_a_report_of_runs_as_they_were_does_not_speak_of_it(tmp_path: Path) -> None:
    write_record(tmp_path, "acts", [write_run(tmp_path, files=False)])
    folder = make_report(tmp_path).directory
    assert "utdated" not in (folder / "report.md").read_text()


def test_trials_of_a_study_are_outdated_too_and_another_study_trains_them(
    outputs: Path,
) -> None:
    jobs = [{"id": path.name[-10:], "run": path.name} for path in (outputs / "runs").iterdir()]
    trials = [job | {"row": "", "seed": 0, "trial": i} for i, job in enumerate(jobs)]
    (outputs / "sweeps" / "acts.json").unlink()
    write_record(outputs, "tune", trials, kind="study", command="augean train -cn tune")
    folder = make_report(outputs).directory
    text = (folder / "report.md").read_text()
    assert "changed since 2 runs of the study's trials were trained" in text
    again = "augean train -cn tune hydra.sweeper.study_name=tune_anew"
    assert again in text
    assert again in commands.augean("status", cwd=outputs.parent).stdout


def test_status_says_it_beside_the_states(outputs: Path) -> None:
    done = commands.augean("status", cwd=outputs.parent)
    assert done.stdout.splitlines()[1:] == [
        "  2 outdated: mine/act.py has changed since",
        "  to train them anew: python train.py -cd sweeps -cn acts",
        "  unknown whether 1 is outdated: lost/act.py is not here",
    ]


def test_the_command_to_train_anew_names_a_folder_that_was_moved(outputs: Path) -> None:
    outputs.rename(outputs.with_name("res"))
    done = commands.augean("status", "--outputs", "res", cwd=outputs.parent)
    anew = next(line for line in done.stdout.splitlines() if "anew" in line)
    assert anew.endswith("-cn acts runtime.outputs=res")


def test_a_custom_loops_own_command_fills_the_gap_that_its_run_left(tmp_path: Path) -> None:
    done = write_run(tmp_path, row="a", files=False) | {"command": "python loop.py 0.5"}
    failed = write_run(tmp_path, row="b", seed=1, state="failed")
    failed["command"] = "python loop.py 0.1"
    write_record(tmp_path, "loop", [done, failed], command="python loop.py 0.5")
    status = commands.augean("status", "--outputs", str(tmp_path))
    report = make_report(tmp_path).directory
    assert "to go on: python loop.py 0.1" in status.stdout
    assert "to go on: python loop.py 0.5" not in status.stdout
    gap = (report / "report.md").read_text().partition("This fills the gap:\n\n")[2]
    assert gap.startswith("    python loop.py 0.1\n")
    (line,) = re.findall('class="gap">.*', (report / "index.html").read_text())
    assert "loop.py 0.1" in line
    assert "loop.py 0.5" not in line


def test_a_page_prints_commands_for_the_folder_in_which_it_is_made(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = next((outputs / "runs").glob("*-own-*"))
    config = {"seed": 0, "activation._target_": "mine.act.Act", "dataset.name": "digits"}
    sign(own, config=config)
    (tmp_path / "data").mkdir()
    assert printed_command(outputs, own) == (
        f'augean train -cp "$PWD"/outputs/runs/{own.name} -cn config'
        " 'runtime.allowed_packages=[mine]'"
    )
    (tmp_path / "my data").mkdir()
    sign(own, places={"start": "..", "data": "../my data"})
    outputs = outputs.rename(tmp_path / "it's")
    own = outputs / "runs" / own.name
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    words = shlex.split(printed_command(outputs, own))
    assert words[:4] == ["cd", str(tmp_path), "&&", "augean"]
    assert words[6] == f"$PWD/it's/runs/{own.name}"
    assert words[9:] == [
        r"runtime.outputs='it\'s'",
        "runtime.data='my data'",
        "runtime.allowed_packages=[mine]",
    ]


def test_a_run_of_a_custom_loop_is_made_again_by_its_own_script(tmp_path: Path) -> None:
    listed, loose = write_run(tmp_path, seed=0), write_run(tmp_path, seed=1)
    for job in (listed, loose):
        sign(tmp_path / "runs" / job["run"], loop="loop.py")
    write_record(tmp_path, "mine", [listed], command="python loop.py --rate 0.1")
    assert printed_command(tmp_path, tmp_path / "runs" / listed["run"]) == (
        "python loop.py --rate 0.1"
    )
    assert printed_command(tmp_path, tmp_path / "runs" / loose["run"]) == ""


def test_an_unfinished_run_of_a_loop_called_train_py_is_made_by_it(tmp_path: Path) -> None:
    job = write_run(tmp_path, state="interrupted")
    command = "python train.py --rate 0.1"
    write_record(tmp_path, "mine", [job | {"command": command}])
    assert printed_command(tmp_path, tmp_path / "runs" / job["run"]) == command


def printed_command(outputs: Path, run: Path) -> str:
    """The command that the page shows for a run."""
    return page_commands(make_report(outputs).directory)[run.name[-10:]]
