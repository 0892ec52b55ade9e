"""The page holds each run once, in one JSON that is small and that no text of a run breaks."""

import json
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from augean.report import explore as charts
from augean.report import make_report, run_data
from augean.store.run_directory import runs_dir, write_metrics
from fake_runs import sign, write_examples, write_many, write_record, write_run
from page_data import page_commands, page_curve, page_data


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("example")
    write_examples(outputs)
    return make_report(outputs).directory


def test_each_run_is_there_once_with_the_scores_of_its_summary(report: Path) -> None:
    data = page_data(report)
    runs = pandas.read_csv(report / "runs.csv", index_col="id", dtype={"id": str})
    assert len(set(data["id"])) == len(data["id"])
    assert set(runs.index) <= set(data["id"])
    for place, id_ in enumerate(data["id"]):
        if id_ not in runs.index:
            assert data["state"]["values"][data["state"]["of"][place]] == "missing"
            continue
        score = runs.test_accuracy[id_]
        expected = None if pandas.isna(score) else pytest.approx(100 * score, abs=0.006)
        assert data["test"][place] == expected


def test_each_table_names_its_runs_by_their_place_with_their_rows(report: Path) -> None:
    data = page_data(report)
    tables = {table["name"]: table for table in data["tables"]}
    shared = set(tables["table1_activation"]["runs"]) & set(tables["table4_optimizer"]["runs"])
    assert shared
    table = tables["table3_width"]
    widths = data["keys"]["width.channels"]
    for place, row in zip(table["runs"], table["row"], strict=True):
        assert str(widths["values"][widths["of"][place]]) == table["rows"][row]


def test_curves_of_runs_in_tables_are_those_of_the_metrics(report: Path) -> None:
    data = page_data(report)
    runs = pandas.read_csv(report / "runs.csv", dtype={"id": str})
    for run in runs.dropna(subset=["test_accuracy", "tables"]).itertuples():
        metrics = pandas.read_csv(report.parent / "runs" / run.directory / "metrics.csv")
        epochs, values = page_curve(data, run.id)
        assert epochs == metrics.epoch.tolist()
        assert values == pytest.approx((100 * metrics.val_accuracy).tolist(), abs=0.006)


def test_epochs_without_a_validation_are_left_out_of_the_curve(tmp_path: Path) -> None:
    job = write_run(tmp_path, files=False)
    path = runs_dir(tmp_path) / job["run"]
    metrics = pandas.read_csv(path / "metrics.csv")
    metrics.loc[metrics.epoch % 2 == 1, ["val_accuracy", "val_loss"]] = float("nan")
    write_metrics(path, metrics.to_dict("records"))
    sign(path)
    write_record(tmp_path, "one", [job])
    epochs, _ = page_curve(page_data(make_report(tmp_path).directory), job["id"])
    assert epochs == [2, 4, 6, 8, 10]


def test_long_curves_are_thinned_and_keep_their_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_data, "MAX_POINTS", 100)
    jobs = [write_run(tmp_path, seed=seed, epochs=70, files=False) for seed in range(3)]
    write_record(tmp_path, "one", jobs)
    data = page_data(make_report(tmp_path).directory)
    for job in jobs:
        epochs, _ = page_curve(data, job["id"])
        assert len(epochs) <= 100 / 3 + 1
        assert epochs[-1] == 70


def test_beyond_the_most_runs_curves_are_left_to_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_data, "MAX_CURVES", 2)
    jobs = [write_run(tmp_path, seed=seed, files=False) for seed in range(3)]
    write_record(tmp_path, "one", jobs)
    data = page_data(make_report(tmp_path).directory)
    assert data["curves"] is None
    assert len(data["test"]) == 3


@pytest.mark.parametrize("label", ["</script><b>", "<!--<script>", "a\u2028b", "{{ 1 }}"])
def test_no_label_ends_the_json(tmp_path: Path, label: str) -> None:
    job = write_run(tmp_path, row=label, optimizer__name=label.replace("/", ""), files=False)
    write_record(tmp_path, "one", [job], command=f"python {label}")
    folder = make_report(tmp_path).directory
    (table,) = page_data(folder)["tables"]
    assert table["rows"] == [label]
    assert (folder / "index.html").read_text().count("</script>") == 3


def test_lists_and_truth_values_of_a_config_become_text(tmp_path: Path) -> None:
    values = [0.1, None, True, [0.1, 0.2], "0.1"]
    jobs = [write_run(tmp_path, optimizer__lr=value, files=False) for value in values]
    write_record(tmp_path, "one", jobs, row_key="optimizer.lr")
    data = page_data(make_report(tmp_path).directory)
    assert data["keys"]["optimizer.lr"]["values"] == [0.1, None, "True", "[0.1, 0.2]", "0.1"]


def test_commands_are_put_together_from_what_runs_share(report: Path) -> None:
    runs = pandas.read_csv(report / "runs.csv", dtype={"id": str})
    commands = page_commands(report)
    for run in runs.itertuples():
        assert f"runs/{run.directory} -cn config" in commands[run.id]
    assert "" in commands.values()  # runs that were never begun have none


def test_a_thousand_runs_take_less_than_two_hundred_bytes_each(tmp_path: Path) -> None:
    write_many(tmp_path, 1000, epochs=35, tables=2)
    text = json.dumps(page_data(make_report(tmp_path).directory), separators=(",", ":"))
    assert len(text) < 200 * 1000


def test_without_bokeh_the_page_has_its_list_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(tmp_path, "one", [write_run(tmp_path, files=False)])
    # None stands for a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "bokeh.util.paths", None)
    charts.chart_library.cache_clear()
    page = (make_report(tmp_path).directory / "index.html").read_text()
    charts.chart_library.cache_clear()
    assert "augean[explore]" in page
    assert 'id="chart-library"' not in page
    assert page_data(tmp_path / "report")["id"]


def test_the_library_is_packed_and_brings_no_network(report: Path) -> None:
    page = (report / "index.html").read_text()
    library = page.split('id="chart-library">')[1].split("</script>")[0]
    assert 100_000 < len(library) < 700_000
    assert library.isascii()


def test_the_report_imports_no_drawing_part_of_bokeh(tmp_path: Path) -> None:
    write_record(tmp_path, "one", [write_run(tmp_path, files=False)])
    code = (
        "import sys; from pathlib import Path; from augean.report import make_report;"
        f"make_report(Path({str(tmp_path)!r})); print('bokeh.models' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_trials_of_a_study_are_charted_and_in_no_table_of_the_list(tmp_path: Path) -> None:
    trials = []
    for number, rate in enumerate((0.1, 0.01)):
        job = write_run(tmp_path, optimizer__lr=rate, files=False)
        trials.append({**job, "trial": number, "state": "complete", "score": 0.9})
    write_record(tmp_path, "study", trials)
    (table,) = page_data(make_report(tmp_path).directory)["tables"]
    assert table["trials"]
    assert table["rows"] == ["trials"]
    assert sorted(table["runs"]) == [0, 1]
