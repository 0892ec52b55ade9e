"""What differs between two runs, and what `augean diff` says of it."""

import shutil
from pathlib import Path

import pytest

from augean.analysis.difference import Entry, compare_runs
from augean.errors import AugeanError
from augean.store.run_directory import runs_dir
from augean.store.summary import read_summary
from commands import augean
from fake_runs import sign, write_run


def write(outputs: Path, **options: object) -> Path:
    """Write a run; return its directory."""
    job = write_run(outputs, **options)  # type: ignore[arg-type]
    return runs_dir(outputs) / str(job["run"])


def changed(first: Path, second: Path) -> dict[str, list[Entry]]:
    """Return the sections in which two runs differ."""
    sections = compare_runs(first, second).sections
    return {name: entries for name, entries in sections.items() if entries}


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    run = write(tmp_path)
    difference = compare_runs(run, run)
    assert not any(difference.sections.values())
    assert all(entry.change == 0 for entry in difference.scores)
    assert difference.remarks == [
        "the training losses of the first 10 epochs are the same, bit by bit",
        "of 300 test images 0 are right in the first run alone, 0 in the second alone",
    ]


def test_config_data_code_environment_and_history_are_told_apart(tmp_path: Path) -> None:
    run = write(tmp_path / "one")
    other = write(tmp_path / "other", optimizer__lr=0.2)
    sign(run, code_digests={"mine/net.py": "aa", "mine/same.py": "cc"})
    sign(
        other,
        data_digest="another",
        weights_digest="those",
        code_digests={"mine/net.py": "bb", "mine/same.py": "cc"},
        instruction_set="AVX2",
        torch_settings={"float32_matmul_precision": "high"},
        note="resumed",
    )
    digest = read_summary(run).data_digest  # type: ignore[union-attr]
    assert changed(run, other) == {
        "config": [Entry("optimizer.lr", 0.1, 0.2)],
        "data": [
            Entry("data_digest", digest, "another"),
            Entry("weights_digest", None, "those"),
        ],
        "code": [Entry("mine/net.py", "aa", "bb")],
        "environment": [
            Entry("instruction_set", "AVX512", "AVX2"),
            Entry("float32_matmul_precision", None, "high"),
        ],
        "history": [Entry("note", "", "resumed")],
    }


def test_a_key_that_an_earlier_release_lacked_has_its_neutral_value(tmp_path: Path) -> None:
    run = write(tmp_path)
    other = tmp_path / "runs" / "copy"
    shutil.copytree(run, other)
    config = {"augmentation.flip": False, "trainer.deterministic": True}
    sign(other, config=config | {"model.name": "resnet18"})
    names = [entry.name for entry in compare_runs(run, other).sections["config"]]
    assert "augmentation.flip" not in names
    assert "trainer.deterministic" in names


def test_an_unfinished_run_is_compared_by_its_config_file(tmp_path: Path) -> None:
    paths = [write(tmp_path, state="interrupted", seed=seed) for seed in (0, 1)]
    for path, lr in zip(paths, ("0.1", "0.3"), strict=True):
        text = f"defaults: [augean, _self_]\noptimizer:\n  lr: {lr}\n"
        (path / "config.yaml").write_text(text)
    assert changed(*paths) == {"config": [Entry("optimizer.lr", 0.1, 0.3)]}


def test_a_config_whose_aliases_have_no_end_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, state="interrupted")
    lines = ["a0: &a0 [x]"]
    for level in range(1, 40):
        lines.append(f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]")
    (path / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(AugeanError, match="not the config of a run"):
        compare_runs(path, path)


def test_the_command_finds_runs_by_id_and_shows_points(tmp_path: Path) -> None:
    first = write(tmp_path, accuracy=0.9, seed=0)
    second = write(tmp_path, accuracy=0.95, seed=1)
    done = augean("diff", first.name[-10:], second.name[-6:], "--outputs", str(tmp_path))
    assert done.returncode == 1  # an id is given by its beginning
    done = augean("diff", first.name[-10:], second.name[-10:], "--outputs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["seed", "0", "1"] in lines
    assert ["test_accuracy,", "%", "90.00", "95.00", "+5.00"] in lines
    assert "the same: data, code, environment, history" in done.stdout
