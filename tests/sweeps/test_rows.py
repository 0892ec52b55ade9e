"""Rows of sweep files whose values YAML gives another type: labels, overrides, baselines.

Sweeps are planned, not run, where no property hangs on a run.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from augean.config import paths
from augean.errors import ConfigError
from augean.store.sweep_record import read_records
from augean.sweeps.plan import SweepPlan, plan_file
from commands import augean, train
from conftest import ROOT, TINY


def plan(folder: Path, sweeper: str, table: str = "", *overrides: str) -> SweepPlan:
    """Plan a sweep file with these options of the sweeper and this table."""
    folder.joinpath("own.yaml").write_text(
        "defaults: [config, override dataset: digits, _self_]\n"
        f"hydra: {{mode: MULTIRUN, sweeper: {{{sweeper}}}}}\n"
        f"runtime: {{outputs: {folder}/out, table: {{{table}}}}}\n"
    )
    return plan_file("own", overrides, folder)


def labels(planned: SweepPlan) -> list[str]:
    return [job.row for job in planned.record.jobs]


@pytest.mark.parametrize(
    ("keys", "baseline"),
    [
        (["0", "8"], "0"),
        (["no", "yes"], "no"),
        (["no", "yes"], '"no"'),
        (["no", "yes"], "false"),
        (["on", "off"], "on"),
        (["true", "false"], '"true"'),
        (["1e-3", "0.01"], "0.001"),
        (["010", "1:30"], "010"),
        (["2020-01-01", "a.b"], "2020-01-01"),
        (['"~"', '"None"'], '"~"'),
        (['"a, b=c: {d} [e]"', '"é – ü"'], '"a, b=c: {d} [e]"'),
    ],
)
def test_rows_and_baseline_have_the_words_of_the_file(
    tmp_path: Path, keys: list[str], baseline: str
) -> None:
    first, second = keys
    planned = plan(
        tmp_path,
        f"rows: {{{first}: [optimizer.momentum=0], {second}: []}}",
        f"baseline: {baseline}, reference: {{{second}: {{test_accuracy: 90}}}}",
    )
    written = [key.strip('"') for key in keys]
    assert labels(planned) == written
    assert planned.record.baseline == written[0]
    assert planned.record.reference == {written[1]: {"test_accuracy": 90}}
    assert [job.config.optimizer.momentum for job in planned.jobs] == [0, 0.9]


@pytest.fixture
def own_sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Augean's own sweep files, of a copy that may be changed."""
    for name in ("conf", "sweeps"):
        shutil.copytree(ROOT / name, tmp_path / "augean" / name)
    monkeypatch.setattr(paths, "PACKAGED_CONF", tmp_path / "augean" / "conf")
    return paths.sweeps_dir()


def test_rows_of_augeans_own_files_have_their_words(tmp_path: Path, own_sweeps: Path) -> None:
    head = (
        "defaults: [config, override dataset: digits, _self_]\n"
        f"runtime: {{outputs: {tmp_path}/out}}\n"
    )
    rows = "hydra: {mode: MULTIRUN, sweeper: {rows: {no: [], 1e-3: [optimizer.momentum=0]}}}\n"
    (own_sweeps / "own_words.yaml").write_text(head + rows)
    assert labels(plan_file("own_words", [])) == ["no", "1e-3"]
    (own_sweeps / "own_words.yaml").write_text(head + rows.replace("1e-3", "off"))
    with pytest.raises(ConfigError, match="no and off are one key"):
        plan_file("own_words", [])


@pytest.mark.parametrize(
    "file", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda file: file.stem
)
def test_no_label_of_augeans_own_files_depends_on_how_it_is_read(file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    rows = content.get("hydra", {}).get("sweeper", {}).get("rows", {})
    # Records that were written before the words of the file counted keep their labels.
    assert all(isinstance(label, str) for label in rows)


def test_rows_of_the_command_line_have_its_words(tmp_path: Path) -> None:
    rows = 'hydra.sweeper.rows={no:[],8:["activation=elu"]}'
    assert labels(plan(tmp_path, "", "", rows)) == ["no", "8"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("1e-3: [], 0.001: []", "1e-3 and 0.001 are one key"),
        ("0: [], no: []", "0 and no are one key"),
        ("010: [], 8: []", "010 and 8 are one key"),
        ("yes: [], on: []", "yes and on are one key"),
        ("~: []", r"hydra\.sweeper\.rows: .*quotes"),
        ("1: [], '1': []", r"hydra\.sweeper\.rows\.1: .*quotes"),
        ("'': []", "'' is no label"),
        ("' ': []", "' ' is no label"),
    ],
)
def test_labels_that_would_lose_a_row_are_refused(tmp_path: Path, keys: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, f"rows: {{{keys}}}")


@pytest.mark.parametrize(
    ("sweeper", "message"),
    [
        ("rows: {a: [3]}", "rows.a: write optimizer.momentum=0"),
        ("rows: {a: [null]}", "rows.a: write optimizer.momentum=0"),
        ("rows: {a: [relu]}", "rows.a: write optimizer.momentum=0 or the like; relu"),
        ("rows: {a: [optimizer.momentum: 0]}", "rows.a: write optimizer.momentum=0"),
        ("rows: {a: [model.stem: null]}", "rows.a: write model.stem=null"),
        ("rows: {a: [{optimizer: {momentum: 0}}]}", "rows.a: write optimizer.momentum=0"),
        ("rows: {a: ['optimizer.momentum: 0']}", "rows.a: write optimizer.momentum=0"),
        ("rows: {a: [[optimizer.momentum=0]]}", "rows.a: write optimizer.momentum=0"),
        ("rows: {a: {optimizer.momentum: 0}}", "rows.a: must be a list, [optimizer.momentum=0]"),
        ("rows: {no: 3}", "rows.no: must be a list, [3]"),
        ("rows: {a: ['activation=relu,elu']}", "rows.a: activation=relu,elu has several values"),
        ("rows: [[activation=relu], []]", "rows=[[activation=relu], []]: needs a label"),
        ("rows: plain", "rows=plain: needs a label for each row"),
        ("ablate: [schedule]", "ablate=[schedule]: needs keys with values"),
        ("ablate: {model.stem: null}", "ablate.model.stem: must be a list, [null]"),
        ("ablate: {0: [1]}", "ablate.0: is not a key of the config"),
        ("ablate: {activation: [elu, elu]}", "ablate.activation: two rows have the label"),
        ("rows: {base: []}, ablate: {activation: [elu]}", "two rows have the label base"),
        ("ablate: {seed: ['${nothing}']}", "ablate.seed[0]: Interpolation key 'nothing'"),
        ("params: {0: 1}", "hydra.sweeper.params.0: Key 0 (int)"),
        ("params: [seed=0]", "a list stands where keys with values belong"),
        ("params: {seed: !!binary aGVsbG8=}", "params.seed: b'hello' cannot be written"),
        ("params: {model.stem: [null, cifar]}", "several values are model.stem: null,cifar"),
    ],
)
def test_what_cannot_be_a_row_is_refused_with_its_place(
    tmp_path: Path, sweeper: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, sweeper)
    assert message in str(caught.value)


def test_an_ablation_takes_values_of_any_type(tmp_path: Path) -> None:
    values = "[null, true, 1, '1', 1e-5, 'a, b', [0.9, null], {a: 1}]"
    planned = plan(tmp_path, f"ablate: {{model.stem: [null, cifar], +model.arguments.x: {values}}}")
    assert labels(planned)[:3] == ["base", "model.stem=null", "model.stem=cifar"]
    assert [job.config.model.stem for job in planned.jobs[1:3]] == [None, "cifar"]
    arguments = [job.config.model.arguments["x"] for job in planned.jobs[3:]]
    assert arguments == [None, True, 1, "1", 1e-5, "a, b", [0.9, None], {"a": 1}]
    assert len(set(labels(planned))) == len(planned.jobs)


@pytest.mark.parametrize("baseline", ['"true"', "true", "yes", "True"])
def test_a_row_key_of_a_truth_value_speaks_the_words_of_the_file(
    tmp_path: Path, baseline: str
) -> None:
    planned = plan(
        tmp_path,
        "params: {augmentation.flip: 'true,false'}",
        f"row: augmentation.flip, baseline: {baseline}, reference: {{no: {{test_accuracy: 80}}}}",
    )
    assert labels(planned) == ["true", "false"]
    assert planned.record.baseline == "true"
    assert list(planned.record.reference) == ["false"]


def test_close_numbers_are_rows_of_their_own(tmp_path: Path) -> None:
    planned = plan(tmp_path, "params: {optimizer.lr: '0.1234567,0.1234568'}", "row: optimizer.lr")
    assert labels(planned) == ["0.1234567", "0.1234568"]


def test_rows_times_swept_values_are_rows_of_their_own(tmp_path: Path) -> None:
    planned = plan(
        tmp_path, "rows: {a: [], b: [activation=elu]}, params: {optimizer.lr: '0.1,0.2', seed: 0}"
    )
    assert labels(planned) == ["a, 0.1", "b, 0.1", "a, 0.2", "b, 0.2"]


@pytest.mark.parametrize("text", ["digits, small", "A: (b), c", "it's"])
def test_quoted_text_below_runtime_is_one_value(tmp_path: Path, text: str) -> None:
    keys = ("runtime.dataset_title", "runtime.table.title")
    params = ", ".join(f"{key}: {json.dumps(json.dumps(text))}" for key in keys)
    planned = plan(tmp_path, f"params: {{{params}}}")
    assert len(planned.jobs) == 1
    assert planned.config.runtime.dataset_title == text
    assert planned.record.title == text


def test_text_below_runtime_with_commas_and_no_quotes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"runtime\.table\.note.*two pairs of quotes"):
        plan(tmp_path, "", "", "runtime.table.note=a, b")
    with pytest.raises(ConfigError, match=r"runtime\.table\.note.*two pairs of quotes"):
        plan(tmp_path, "params: {runtime.table.note: 'a, b'}")


def test_a_study_searches_null_and_truth_values(tmp_path: Path) -> None:
    planned = plan(
        tmp_path, "n_trials: 2, params: {model.stem: 'null,cifar', augmentation.flip: 'true,false'}"
    )
    values = {(job.config.model.stem, job.config.augmentation.flip) for job in planned.samples}
    assert values == {(None, True), ("cifar", False)}


def test_rows_that_yaml_has_given_a_type_leave_a_table(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "defaults: [config, _self_]\n"
        "hydra: {mode: MULTIRUN, sweeper: {rows: {no: [], yes: [augmentation.flip=true]}}}\n"
        "runtime: {table: {baseline: no}}\n"
    )
    outputs = tmp_path / "out"
    command = ["-cd", str(tmp_path), "-cn", "own", *TINY, f"runtime.outputs={outputs}"]
    for _ in range(2):
        done = train(*command, "trainer.epochs=1")
        assert done.returncode == 0, done.stderr
    records, problems = read_records(outputs)
    assert not problems
    assert [job.row for job in records[0].jobs] == ["no", "yes"]
    done = augean("report", "--outputs", str(outputs))
    assert done.returncode == 0, done.stderr
    page = next((outputs / "report").glob("*.md")).read_text()
    assert "yes" in page


def test_a_design_of_older_labels_keeps_its_seeds(tmp_path: Path) -> None:
    sweeper = "params: {augmentation.flip: 'true,false', seed: '0,1,2'}"
    table = "row: augmentation.flip, baseline: true"
    planned = plan(tmp_path, sweeper, table)
    path = planned.record.write(tmp_path / "out")
    content = json.loads(path.read_text())
    content["design"] = {"margin": 0.5, "least": 3, "most": 20, "seeds": {"True": 4, "False": 3}}
    del content["sha256"]
    path.write_text(json.dumps(content))
    again = plan(tmp_path, sweeper, table)
    assert again.record.design["seeds"] == {"true": 4, "false": 3}
    assert [job.seed for job in again.record.jobs if job.row == "true"] == [0, 1, 2, 3]


def test_a_row_that_a_custom_loop_joined_may_be_the_baseline(tmp_path: Path) -> None:
    record = plan(tmp_path, "params: {optimizer: 'sgd,adam'}").record
    own = replace(record.jobs[0], row="mine", command="python mine.py")
    design = {"margin": 0.5, "least": 3, "most": 20, "baseline": "mine", "rows": ["sgd", "adam"]}
    joined = replace(record, jobs=[*record.jobs, own], baseline="mine", design=design)
    joined.write(tmp_path / "out")
    for table in ("", "baseline: mine"):
        again = plan(tmp_path, "params: {optimizer: 'sgd,adam'}", table).record
        assert [job.row for job in again.jobs] == ["sgd", "adam", "mine"]
        assert again.baseline == "mine"
