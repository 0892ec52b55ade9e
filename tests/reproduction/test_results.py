"""Results say what the tables say, name what is missing, and are a function of their archive."""

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest

from augean.cli.main import main
from augean.config.schema import Config
from augean.errors import AugeanError
from augean.reproduction.results import ARCHIVE, MAX_BYTES, build_results
from augean.reproduction.statements import EXPECTATIONS, course_report, num_last_epochs
from augean.runs.execute import execute
from augean.store.record_identity import record_path
from augean.store.run_directory import runs_dir
from augean.store.summary import read_summary, write_summary
from augean.store.sweep_record import SweepJob, SweepRecord, read_record
from commands import augean
from conftest import ROOT
from fake_runs import contents, sign, write_record, write_run

SPREAD = (-0.002, 0.0, 0.002)
DOCUMENTS = ("README.md", "docs/reproduction.md")


def write_table(
    outputs: Path,
    name: str,
    rows: dict[str, float],
    *,
    key: str,
    baseline: str | None = None,
    **more: Any,
) -> None:
    """A grid with the given mean accuracies, three seeds a row; `seconds` may be one number a
    row.
    """
    seconds = more.pop("seconds", {})
    reference = more.pop("reference", {})
    jobs = []
    for row, mean in rows.items():
        more[key] = float(row) if row[0].isdigit() else row
        for seed in range(3):
            job = write_run(
                outputs,
                row=row,
                seed=seed,
                accuracy=mean + SPREAD[seed],
                seconds=seconds.get(row, 40.0) + seed,
                files=False,
                **more,
            )
            jobs.append(job)
    places = "runtime.outputs=/secret/place 'runtime.data=/secret/the data'"
    command = f"python train.py -cd sweeps -cn {name} {places} seed=0,1,2"
    cited = {row: {"test_accuracy": value} for row, value in reference.items()}
    key = key.replace("__", ".")
    write_record(
        outputs,
        name,
        jobs,
        title=name,
        row_key=key,
        baseline=baseline,
        reference=cited,
        command=command,
    )


def write_probe(
    outputs: Path, ranges: dict[str, float], seeds: int, *, name: str, **config: Any
) -> None:
    jobs = []
    for model, width in ranges.items():
        for seed in range(seeds):
            job = write_run(
                outputs,
                row=model,
                seed=seed,
                model__name=model,
                record__probe_every=5,
                files=False,
                **config,
            )
            path = runs_dir(outputs) / job["run"]
            points = [
                (step, size, 1 + size * (width + 0.01 * seed), size, 0.9, 1.0)
                for step in (1, 6)
                for size in (0, 1)
            ]
            columns = [
                "step",
                "step_size",
                "loss",
                "gradient_distance",
                "gradient_cosine",
                "smoothness",
            ]
            pandas.DataFrame(points, columns=columns).to_csv(path / "probe.csv", index=False)
            sign(path)
            jobs.append(job)
    write_record(outputs, name, jobs, row_key="model.name", baseline="vgg_a")


def write_pass(outputs: Path) -> None:
    """A pass in which every statement has a known verdict; the reference numbers are the
    report's.
    """
    common: dict[str, Any] = {
        "width__channels": 16,
        "schedule__patience": 2,
        "dataset_title": "Small images",
    }
    write_table(
        outputs,
        "table1_activation",
        {"relu": 0.7, "leaky_relu": 0.8, "elu": 0.6},
        key="activation__name",
        baseline="leaky_relu",
        seconds={"relu": 20.0},
        reference={"relu": 81.22, "leaky_relu": 88.67},
        **common,
    )
    write_table(
        outputs,
        "table2_weight_decay",
        {"0": 0.8, "0.0001": 0.8003, "0.0005": 0.85, "0.001": 0.86},
        key="regularization__weight_decay",
        baseline="0",
        **common,
    )
    write_table(
        outputs,
        "table3_width",
        {"8": 0.7, "16": 0.8, "32": 0.8002},
        key="width__channels",
        baseline="16",
        seconds={"8": 20.0, "32": 90.0},
        reference={"32": 83.59, "64": 88.67, "128": 86.11},
    )
    write_table(
        outputs,
        "table4_optimizer",
        {"sgd": 0.8, "adam": 0.4, "adagrad": 0.8001, "rmsprop": 0.9},
        key="optimizer__name",
        baseline="sgd",
        **common,
    )
    write_table(
        outputs,
        "table4_tuned",
        {"sgd": 0.82, "adam": 0.82, "adagrad": 0.7, "rmsprop": 0.9},
        key="optimizer__name",
        baseline="sgd",
        optimizer__lr=0.01,
        **common,
    )
    write_table(
        outputs,
        "stem",
        {"cifar": 0.8, "imagenet": 0.5},
        key="model__stem",
        baseline="cifar",
        **common,
    )
    write_table(
        outputs,
        "dropout",
        {"0": 0.8, "0.5": 0.7},
        key="regularization__dropout",
        baseline="0",
        **common,
    )
    write_table(
        outputs,
        "batchnorm",
        {"vgg_a": 0.77, "vgg_a_bn": 0.83},
        key="model__name",
        baseline="vgg_a",
        epochs=20,
    )
    write_table(
        outputs,
        "final",
        {"resnet18": 0.9},
        key="model__name",
        epochs=30,
        seconds={"resnet18": 20.0},
    )
    write_table(
        outputs,
        "stock",
        {"resnet18": 0.88},
        key="model__name",
        epochs=60,
        seconds={"resnet18": 90.0},
    )
    write_probe(outputs, {"vgg_a": 2.0, "vgg_a_bn": 0.5}, seeds=3, name="probe")
    write_probe(
        outputs,
        {"vgg_a": 0.5, "vgg_a_bn": 2.0},
        seeds=3,
        name="probe_sgd",
        optimizer__momentum=0.9,
    )
    rows = {
        "sgd, 0, never": 0.8,
        "sgd, 0, epoch": 0.88,
        "adam, 0, never": 0.3,
        "adam, 0, epoch": 0.48,
    }
    reference = {row: 88.67 if row.startswith("sgd") else 48.17 for row in rows}
    write_table(
        outputs,
        "recipe",
        rows,
        key="recipe",
        baseline="sgd, 0, never",
        reference=reference,
        dataset__name="cifar10",
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the planted pass; the folder of outputs lies beside it."""
    folder = tmp_path_factory.mktemp("whole")
    write_pass(folder / "outputs")
    assert build_results(folder / "outputs", folder / "planted") == []
    return folder / "planted"


def verdicts(target: Path) -> dict[str, str]:
    """By statement its verdict, as the README has it."""
    lines = re.findall(
        r"^\| (\d) \| (.*?) \| \*\*(.*?)\*\* \| (.*) \|$",
        (target / "README.md").read_text(),
        re.MULTILINE,
    )
    return {text: verdict for _, text, verdict, _ in lines}


def test_planted_effects_are_judged_as_they_were_planted(whole: Path) -> None:
    assert verdicts(whole) == {
        "ReLU is less accurate than LeakyReLU": "holds",
        "ReLU is slower than LeakyReLU": "wrong",
        "dead ReLU units are the cause": "wrong",
        "the original 7x7 stem with pooling is less accurate than 3x3": "holds",
        "weight decay 1e-4 helps": "within noise",
        "weight decay 5e-4 helps": "holds",
        "weight decay 1e-3 hurts": "wrong",
        "fewer filters are less accurate": "holds",
        "more filters are more accurate": "within noise",
        "more filters cost time": "holds",
        "Adam is worse than SGD": "holds",
        "Adagrad is worse than SGD": "within noise",
        "RMSprop is worse than SGD": "wrong",
        "Adam is worse than SGD, both tuned with one budget": "within noise",
        "Adagrad is worse than SGD, both tuned with one budget": "holds",
        "RMSprop is worse than SGD, both tuned with one budget": "wrong",
        "the small data set is Adam's problem, so that tuning does not help": "wrong",
        "the small data set is Adagrad's problem, so that tuning does not help": (
            "cannot be said here"
        ),
        "the small data set is RMSprop's problem, so that tuning does not help": (
            "cannot be said here"
        ),
        "dropout does not help beside batch norm": "holds",
        "batch norm is more accurate, in the starter code's setting": "holds",
        "batch norm is more accurate, in Part 1's setting": "cannot be said here",
        "batch norm needs fewer epochs": "holds",
        "batch norm narrows the range of the loss along the gradient, in the starter code's"
        " setting": "holds",
        "batch norm narrows the range of the loss along the gradient, trained with SGD": "wrong",
        "less internal covariate shift is the cause": "cannot be said here",
    }


def test_the_numbers_are_those_of_the_table(whole: Path) -> None:
    text = (whole / "README.md").read_text()
    table = pandas.read_csv(whole / "tables" / "table1_activation.csv").set_index("row")
    row = table.loc["relu"]
    low, high = (f"−{abs(row[f'difference_{key}']):.2f}" for key in ("low", "high"))
    assert (
        f"relu against leaky_relu: −10.00 points ({low} to {high}, n = 3); published −7.45" in text
    )
    assert "imagenet against cifar: −30.00 points" in text
    assert "relu against leaky_relu: −20.00 seconds" in text
    assert re.search(
        r"8 against 16: −10\.00 points \(.*\); published −5\.08", text
    )  # widths by their places
    assert re.search(r"32 against 16: \+0\.02 points \(.*\); published −2\.56", text)
    widths = pandas.read_csv(whole / "tables" / "table3_width.csv").set_index("row")
    assert widths.published_test_accuracy.to_dict() == {8: 83.59, 16: 88.67, 32: 86.11}
    assert "C = 8, 16, 32 stand for the published 32, 64, 128." in text


def test_a_pass_without_the_course_reports_sweeps_is_about_its_own_tables(tmp_path: Path) -> None:
    write_table(
        tmp_path / "outputs",
        "fashion_mnist",
        {"resnet18": 0.94},
        key="model__name",
        reference={"resnet18": 94.9},
        dataset_title="Clothes",
    )
    document = tmp_path / "page.md"
    document.write_text("<!-- results/own: headline -->\n<!-- end -->\n")
    assert build_results(tmp_path / "outputs", tmp_path / "own", [document]) == []
    text = (tmp_path / "own" / "README.md").read_text()
    assert "# own: fashion_mnist, n = 3" in text
    assert (
        "| fashion_mnist | resnet18 | 3 | 94.00 | ± 0.50 | - | - | 94.90 |" in document.read_text()
    )
    assert "Data: Clothes;" in text
    for words in ("course report", "CIFAR-10", "make part2", "Not run"):
        assert words not in text


def test_a_network_of_its_own_width_is_said_to_have_no_channels(tmp_path: Path) -> None:
    write_table(
        tmp_path / "outputs",
        "table1_activation",
        {"leaky_relu": 0.8},
        key="activation__name",
        baseline="leaky_relu",
        width__channels=None,
    )
    assert build_results(tmp_path / "outputs", tmp_path / "native") == []
    text = (tmp_path / "native" / "README.md").read_text()
    assert "channels none in place of 64" in text
    assert "training images 1,197" in text


def test_what_stands_in_for_the_reports_setting_is_said(whole: Path) -> None:
    text = (whole / "README.md").read_text()
    for words in (
        "Small images in place of CIFAR-10",
        "channels 16 in place of 64",
        "epochs 10 in place of 35",
        "patience 2 in place of 9",
        "num_train 1,197 in place of 45,000",
        "in Table 3 C = 8, 16, 32 in place of 32, 64, 128",
        "final: 30 epochs in place of 120",
        "stock: 60 epochs in place of 200",
    ):
        assert words in text
    assert "batchnorm: 20 epochs" not in text


def test_the_final_model_is_measured_against_the_stock_run(whole: Path) -> None:
    text = (whole / "README.md").read_text()
    assert re.search(
        r"\| as reported \| 30 \| 3 \| 90\.00 \| ± 0\.50 \| \+2\.00 \| better \| 21\.0 \| 0\.23 \|",
        text,
    )
    assert "Met: 89.50 against 88.00 %, +1.50 points, at 0.23 of the time." in text
    assert "not compared: `tune_final`" in text
    assert "at least 96.0 %" not in text  # said of the official files only


@pytest.mark.parametrize(("epochs", "last"), [(2, 3), (10, 3), (15, 4), (35, 10), (120, 10)])
def test_the_end_of_a_run_is_the_same_share_of_it(epochs: int, last: int) -> None:
    assert num_last_epochs(epochs) == last


def test_the_closest_recipe_comes_first(whole: Path) -> None:
    text = (whole / "README.md").read_text()
    assert "root mean square: 0, epoch 0.49 points; 0, never 14.24 points." in text
    assert (
        "launched here show 3 differences to their common baseline: 2.56, 5.08, 7.45 points."
        in text
    )


def test_every_table_figure_and_command_is_there_without_the_places_of_a_machine(
    whole: Path,
) -> None:
    text = (whole / "README.md").read_text()
    links = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert len(links) > 20
    assert all((whole / link).is_file() for link in links)
    assert "python train.py -cd sweeps -cn stem seed=0,1,2" in text
    assert "secret" not in text
    assert len(pandas.read_csv(whole / "runs.csv")) == len(
        list((whole.parent / "outputs/runs").iterdir())
    )
    assert sum(path.stat().st_size for path in whole.rglob("*")) < MAX_BYTES


def test_the_results_are_a_function_of_their_archive(tmp_path: Path) -> None:
    write_table(tmp_path / "o", "final", {"resnet18": 0.9}, key="model__name", epochs=30)
    build_results(tmp_path / "o", tmp_path / "here" / "same")
    build_results(tmp_path / "here" / "same" / ARCHIVE, tmp_path / "there" / "same")
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize(
    ("dead_units", "finding", "evidence"),
    [
        (None, "cannot be said here", "no run records which units are dead"),
        ({"stem": 0.0, "stages": 0.0}, "wrong", "relu: no channel of any layer is zero"),
        ({"stem": 0.0, "stages": 0.25}, "cannot be said here", "relu: up to 25.0% of a layer's"),
    ],
)
def test_dead_units_that_nobody_has_are_the_cause_of_nothing(
    dead_units: dict[str, float] | None, finding: str, evidence: str, tmp_path: Path
) -> None:
    rows = {"relu": 0.8, "leaky_relu": 0.9}
    outputs = tmp_path / "outputs"
    write_table(
        outputs,
        "table1_activation",
        rows,
        key="activation__name",
        baseline="leaky_relu",
    )
    for path in runs_dir(outputs).iterdir():
        summary = read_summary(path)
        assert summary is not None
        write_summary(path, replace(summary, dead_units=dead_units))
    build_results(outputs, tmp_path / "results")
    text = (tmp_path / "results/README.md").read_text()
    line = next(line for line in text.splitlines() if "dead ReLU units" in line)
    assert f"**{finding}**" in line
    assert evidence in line


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    states = ("finished", "finished", "diverged", "failed", "interrupted", "missing")
    jobs = [
        write_run(tmp_path / "outputs", seed=seed, state=state, row="relu")
        for seed, state in enumerate(states)
    ]
    jobs.append(write_run(tmp_path / "outputs", seed=9, row="leaky_relu"))
    write_record(
        tmp_path / "outputs",
        "table1_activation--01234567",
        jobs,
        title="Table 1",
        baseline="leaky_relu",
    )
    pruned = write_run(tmp_path / "outputs", seed=50, state="interrupted")
    tuning = SweepRecord(
        name="tune_final",
        title="Tuning",
        command="again",
        created="now",
        kind="study",
        num_trials=2,
        jobs=[
            SweepJob(
                id=pruned["id"],
                run=pruned["run"],
                row="trial 0",
                seed=50,
                trial=0,
                state="pruned",
            )
        ],
    )
    tuning.write(tmp_path / "outputs")
    build_results(tmp_path / "outputs", tmp_path / "partial")
    text = (tmp_path / "partial" / "README.md").read_text()
    missing = text.split("## What is missing")[1]
    assert set(re.findall(r"(\w+) \(`make ", missing)) == course_report().sweeps.keys() - {
        "table1_activation",
        "tune_final",
    }
    assert f"| {jobs[2]['run']} | diverged | in epoch 5 |" in missing
    assert f"| {jobs[3]['run']} | failed | out of memory |" in missing
    assert f"| {jobs[4]['run']} | interrupted |" in missing
    assert "Table 1: 1 interrupted, 1 failed, 1 missing, of 7 runs" in missing
    assert pruned["run"] not in missing
    assert "- Tuning: 1 of 2 trials done." in missing
    assert "- Runs: 3 finished, 1 diverged, 1 interrupted, 1 failed, 1 pruned;" in text
    findings = verdicts(tmp_path / "partial")
    assert findings.pop("dead ReLU units are the cause") == "wrong"
    # The baseline has one seed.
    assert set(findings.values()) == {"cannot be said here"}
    assert "not run: make stem" in text
    assert "No final model and no stock run is finished" in text


def test_a_row_that_always_diverges_does_not_converge(tmp_path: Path) -> None:
    jobs = [write_run(tmp_path / "o", seed=seed, row="sgd") for seed in range(3)]
    jobs += [
        write_run(tmp_path / "o", seed=seed, row="adam", optimizer__name="adam", state="diverged")
        for seed in range(3)
    ]
    write_record(tmp_path / "o", "table4_optimizer", jobs, baseline="sgd")
    build_results(tmp_path / "o", tmp_path / "r")
    assert verdicts(tmp_path / "r")["Adam is worse than SGD"] == "holds"
    assert "adam: 3 diverged; nothing to compare" in (tmp_path / "r" / "README.md").read_text()


def test_a_folder_without_finished_runs_still_has_its_page(tmp_path: Path) -> None:
    write_record(
        tmp_path / "o", "stem", [write_run(tmp_path / "o", state="missing")], baseline="leaky_relu"
    )
    build_results(tmp_path / "o", tmp_path / "r")
    assert set(verdicts(tmp_path / "r").values()) == {"cannot be said here"}


def test_marked_places_of_documents_are_filled_and_nothing_else(tmp_path: Path) -> None:
    write_table(
        tmp_path / "o", "stem", {"cifar": 0.8, "imagenet": 0.5}, key="model__stem", baseline="cifar"
    )
    document = tmp_path / "docs" / "story.md"
    document.parent.mkdir()
    other = "<!-- results/other: claims -->\nkept\n<!-- end -->"
    document.write_text(
        f"Before \\1.\n<!-- results/mine: claims -->\nstale\n<!-- end -->\n{other}\nAfter.\n"
    )
    build_results(tmp_path / "o", tmp_path / "results" / "mine", [document])
    text = document.read_text()
    assert text.startswith("Before \\1.\n<!-- results/mine: claims -->\n")
    assert text.endswith(f"<!-- end -->\n{other}\nAfter.\n")
    assert "imagenet against cifar" in text
    assert "stale" not in text
    document.write_text(
        "<!-- results/mine: headline --><!-- end -->\n<!-- results/mine: headline -->\n<!-- end -->"
    )
    build_results(tmp_path / "o", tmp_path / "results" / "mine", [document])
    assert "](../results/mine/README.md)" in document.read_text()
    once = document.read_bytes()
    build_results(tmp_path / "o", tmp_path / "results" / "mine", [document])
    assert document.read_bytes() == once
    document.write_text("<!-- results/mine: nothing -->\n<!-- end -->")
    with pytest.raises(AugeanError, match="no block nothing; they have headline"):
        build_results(tmp_path / "o", tmp_path / "results" / "mine", [document])


@pytest.mark.parametrize("content", [None, b"\xff not UTF-8"])
def test_a_document_that_cannot_be_filled_is_refused_before_anything_is_replaced(
    tmp_path: Path, content: bytes | None
) -> None:
    write_table(tmp_path / "o", "stem", {"cifar": 0.8}, key="model__stem")
    document = tmp_path / "READM.md"
    if content is not None:
        document.write_bytes(content)
    with pytest.raises(AugeanError, match=r"--fill .*READM\.md"):
        build_results(tmp_path / "o", tmp_path / "r", [document])
    assert not (tmp_path / "r").exists()


def test_a_folder_of_results_can_be_made_anew_from_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "o", "stem", {"cifar": 0.8}, key="model__stem")
    build_results(tmp_path / "o", tmp_path / "r")
    before = contents(tmp_path / "r")
    document = tmp_path / "story.md"
    document.write_text("<!-- results/r: headline -->\n<!-- end -->")
    monkeypatch.chdir(tmp_path / "r")
    assert build_results(Path(ARCHIVE), Path("."), [Path("../story.md")]) == []
    monkeypatch.chdir(tmp_path)
    assert contents(tmp_path / "r") == before
    assert "](r/README.md)" in document.read_text()


def test_a_remark_is_said_and_is_no_problem(tmp_path: Path) -> None:
    # No font has letters of the private use area.
    job = write_run(tmp_path / "o", row="row \ue123", files=False)
    other = write_run(tmp_path / "o", row="b", activation__name="elu", files=False)
    write_record(tmp_path / "o", "one", [job, other])
    done = augean("results", str(tmp_path / "o"), "--to", str(tmp_path / "r"))
    assert done.returncode == 0, done.stderr
    assert "no font here has" in done.stderr


def test_only_a_folder_of_results_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "o", "stem", {"cifar": 0.8}, key="model__stem")
    for files in ({"thesis.txt": "years of work"}, {"README.md": "my own\n"}):
        target = tmp_path / "-".join(files)
        target.mkdir()
        for name, text in files.items():
            (target / name).write_text(text)
        before = contents(target)
        with pytest.raises(AugeanError, match="was not made by `augean results`"):
            build_results(tmp_path / "o", target)
        assert contents(target) == before
    build_results(tmp_path / "o", tmp_path / "r")
    before = contents(tmp_path / "r")
    (tmp_path / "r" / "stale.txt").write_text("from an earlier pass")
    build_results(tmp_path / "o", tmp_path / "r")
    assert contents(tmp_path / "r") == before
    monkeypatch.setattr("augean.reproduction.results.MAX_BYTES", 1000)
    with pytest.raises(AugeanError, match="too large to commit"):
        build_results(tmp_path / "o", tmp_path / "r")
    assert contents(tmp_path / "r") == before


def test_a_real_pass_goes_from_the_command_line_to_another_machine_and_into_a_folder(
    tiny: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def augean(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["augean", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capsys.readouterr().out

    models = ["model=vgg_a", "model=vgg_a_bn"]
    configs = [
        tiny(model, "activation=relu", "record.probe_every=5", "trainer.epochs=1")
        for model in models
    ]
    jobs = []
    for config in configs:
        address = execute(config).address
        jobs.append(
            {
                "id": address.id,
                "run": address.path.name,
                "row": config.model.name,
                "seed": config.seed,
            }
        )
    write_record(tmp_path / "outputs", "probe", jobs, row_key="model.name", baseline="vgg_a")
    assert (
        augean("pack", "--outputs", tmp_path / "outputs", "--to", tmp_path / "runs.tar.xz")[0] == 0
    )
    assert augean("unpack", tmp_path / "runs.tar.xz", "--outputs", tmp_path / "there") == (
        0, f"{tmp_path}/there: 2 runs added\n"
    )  # fmt: skip
    assert augean("results", tmp_path / "there", "--to", tmp_path / "results" / "tiny")[0] == 0
    text = (tmp_path / "results" / "tiny" / "README.md").read_text()
    row = re.search(
        r"narrows the range.*\*\*cannot be said here\*\* \| vgg_a_bn against vgg_a: (\S+) of loss",
        text,
    )
    assert row
    ranges = []
    for job in jobs:  # the number is that of the probes
        losses = (
            pandas.read_csv(tmp_path / "outputs/runs" / job["run"] / "probe.csv")
            .groupby("step")
            .loss
        )
        ranges.append((losses.max() - losses.min()).mean())
    assert float(row[1].replace("−", "-")) == pytest.approx(ranges[1] - ranges[0], abs=0.000051)
    for kind in ("png", "csv"):
        assert (tmp_path / "results" / "tiny" / "figures" / f"probe_probe.{kind}").exists()
    path = tmp_path / "there" / "runs" / jobs[0]["run"] / "metrics.csv"
    path.write_text(path.read_text().replace("1,", "2,", 1))
    assert (
        augean("pack", "--outputs", tmp_path / "there", "--to", tmp_path / "again.tar.xz")[0] == 2
    )


def test_claims_name_sweeps_rows_and_expectations_that_exist() -> None:
    files = {path.stem for path in (ROOT / "sweeps").glob("*.yaml")}
    makefile = (ROOT / "Makefile").read_text()
    assert course_report().sweeps.keys() <= files
    for sweep in course_report().sweeps.values():
        assert f"\n{sweep.make}: setup" in makefile
    for statement in course_report().statements:
        assert bool(statement.sweep) != bool(statement.unknown)
        assert {statement.sweep, statement.against} <= course_report().sweeps.keys() | {""}
        assert statement.expected in EXPECTATIONS
    assert {statement.claim for statement in course_report().statements} == set(range(1, 8))


def test_committed_results_and_the_numbers_in_documents_are_those_of_their_archives(
    tmp_path: Path,
) -> None:
    for archive in (ROOT / "results").glob(f"*/{ARCHIVE}"):
        copies = [tmp_path / name for name in DOCUMENTS]
        for copy, name in zip(copies, DOCUMENTS, strict=True):
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / name, copy)
        target = tmp_path / "results" / archive.parent.name
        build_results(archive, target, copies)
        assert (target / "README.md").read_text() == (archive.parent / "README.md").read_text()
        assert (target / "runs.csv").read_text() == (archive.parent / "runs.csv").read_text()
        assert [copy.read_text() for copy in copies] == [
            (ROOT / name).read_text() for name in DOCUMENTS
        ]
        figures = [
            {path.name for path in (folder / "figures").iterdir()}
            for folder in (target, archive.parent)
        ]
        assert figures[0] == figures[1]


def test_a_record_with_the_name_of_another_folder_is_written_nowhere_else(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    scores = {"8": 0.7, "16": 0.8, "32": 0.8}
    write_table(outputs, "table3_width", scores, key="width__channels", baseline="16")
    file = record_path(outputs, "table3_width")
    evil = replace(read_record(file), name=str(tmp_path / "evil"))
    file.write_text(evil._as_text())
    build_results(outputs, tmp_path / "tiny")
    assert not (tmp_path / "evil.json").exists()
    assert (tmp_path / "tiny" / "README.md").exists()
