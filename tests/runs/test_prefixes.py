"""A longer training begins where a shorter one of the same config has ended."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from augean.config.schema import Config
from augean.errors import Pruned
from augean.runs.address import build_source, find_address
from augean.runs.execute import execute
from augean.runs.prefixes import find_prefixes
from augean.store.checkpoints import CHECKPOINT
from augean.store.run_files import STATE
from augean.store.summary import RunSummary, read_summary
from augean.training.checkpoint import decode_checkpoint
from same_results import metrics, same_result

Make = Callable[..., Config]
Kill = Callable[[Config, int], None]
KEEP = "runtime.keep_state=true"
RECORDS = ("record.step_loss=true", "record.probe_every=3")


def from_the_start(tiny: Make, tmp_path: Path, *overrides: str) -> Path:
    """Return the directory of a run that was trained alone in its folder."""
    return execute(tiny(*overrides, KEEP, f"runtime.outputs={tmp_path}/alone")).address.path


def progress(path: Path) -> dict[str, object]:
    """Return what a kept state says of the run, without times, origin and what files hold."""
    state = decode_checkpoint((path / STATE).read_bytes(), path.name[-10:])
    values = dict(state["progress"])
    for name in ("seconds", "started", "continued", "best_weights", "probes"):
        values.pop(name)
    rows = [dict(row) for row in values.pop("rows")]
    for row in rows:
        del row["seconds"], row["images_per_second"]
    return values | {"rows": rows}


def same_end(one: Path, other: Path) -> bool:
    """Return whether two runs agree in results, files and history, bit by bit."""
    states = [
        decode_checkpoint((path / STATE).read_bytes(), path.name[-10:]) for path in (one, other)
    ]
    weights = [state["network"] for state in states]
    assert progress(one) == progress(other)
    # The kept states also hold times, which differ.
    for path in (one, other):
        summary = path / "summary.json"
        content = json.loads(summary.read_text())
        del content["files"][STATE]
        summary.write_text(json.dumps(content))
    return same_result(one, other) and all(
        torch.equal(weights[0][name], weights[1][name]) for name in weights[0]
    )


@pytest.mark.parametrize(
    "overrides",
    [
        "schedule=constant",
        "schedule=plateau schedule.patience=0 optimizer=adam",
        "schedule=constant dataset.num_val=0",
        "regularization=mixup trainer.reset_optimizer=epoch trainer.precision=bf16",
    ],
)
def test_a_finished_runs_longer_training_ends_as_one_from_the_start(
    tiny: Make, tmp_path: Path, overrides: str
) -> None:
    lines = [*overrides.split(), *RECORDS]
    whole = from_the_start(tiny, tmp_path, "trainer.epochs=5", *lines)
    short = execute(tiny("trainer.epochs=3", KEEP, *lines))
    long = execute(tiny("trainer.epochs=5", KEEP, *lines))
    assert long.summary.continued is not None
    assert long.summary.continued.run == short.address.id
    assert long.summary.continued.epoch == 3
    assert len(metrics(long.address.path)) == 5
    assert same_end(whole, long.address.path)


def test_an_interrupted_shorter_run_is_continued_and_left_as_it_was(
    tiny: Make, tmp_path: Path, train_until: Kill
) -> None:
    whole = from_the_start(tiny, tmp_path, "trainer.epochs=5")
    short = tiny("trainer.epochs=4")
    train_until(short, 2)
    checkpoint = find_address(short).path / CHECKPOINT
    content = checkpoint.read_bytes()
    long = execute(tiny("trainer.epochs=5", KEEP))
    assert long.summary.continued is not None
    assert long.summary.continued.epoch in (1, 2)  # killed before or after the checkpoint
    assert checkpoint.read_bytes() == content
    assert same_end(whole, long.address.path)


def test_the_longest_state_is_chosen_not_the_longest_run(tiny: Make, train_until: Kill) -> None:
    execute(tiny("trainer.epochs=1", KEEP))
    middle = execute(tiny("trainer.epochs=4", KEEP))
    # Trained from the start, as no state of the other two is in its folder.
    other = tiny("trainer.epochs=6")
    train_until(tiny("trainer.epochs=6", "runtime.outputs=" + other.runtime.outputs + "2"), 2)
    interrupted = find_address(other).path
    shutil.copytree(Path(other.runtime.outputs + "2") / "runs" / interrupted.name, interrupted)
    long = execute(tiny("trainer.epochs=7"))
    assert long.summary.continued is not None
    assert long.summary.continued.run == middle.address.id
    assert long.summary.continued.epoch == 4


def test_seconds_count_once(tiny: Make) -> None:
    runs = [execute(tiny(f"trainer.epochs={epochs}", KEEP)).summary for epochs in (1, 2, 4)]
    total = runs[-1].seconds
    own = [run.own_seconds for run in runs]
    assert total is not None
    assert all(run.seconds is not None for run in runs)
    # A state is kept shortly before the end of its run, which tests once more.
    spent = sum(seconds for seconds in own if seconds is not None)
    assert total <= spent
    assert own[2] is not None
    assert own[2] < total
    assert total == pytest.approx(runs[2].continued.seconds + own[2])  # type: ignore[union-attr]


def test_a_run_without_a_shorter_one_says_nothing_of_it(tiny: Make) -> None:
    outcome = execute(tiny("trainer.epochs=1"))
    assert outcome.summary.continued is None
    assert "continued" not in json.loads((outcome.address.path / "summary.json").read_text())
    assert read_summary(outcome.address.path) == outcome.summary


def continued(config: Config) -> RunSummary:
    return execute(config).summary


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("schedule=cosine", "schedule=cosine"),
        ("schedule=onecycle", "schedule=onecycle"),
        ("schedule=constant", "schedule=plateau"),
        ("seed=0", "seed=1"),
        ("optimizer.lr=0.05", "optimizer.lr=0.051"),
        ("record.step_loss=false", "record.step_loss=true"),
        ("runtime.threads=1", "runtime.threads=2"),
    ],
)
def test_another_training_is_not_continued(tiny: Make, before: str, after: str) -> None:
    execute(tiny("trainer.epochs=1", KEEP, before))
    assert continued(tiny("trainer.epochs=2", after)).continued is None


def test_no_longer_and_no_diverged_run_is_continued(tiny: Make) -> None:
    execute(tiny("trainer.epochs=3", KEEP))
    assert continued(tiny("trainer.epochs=2")).continued is None
    bad = ("optimizer.lr=1e30", "dataset.num_val=0", "schedule=constant")
    short = execute(tiny("trainer.epochs=1", KEEP, *bad))
    long = execute(tiny("trainer.epochs=2", KEEP, *bad))
    assert short.summary.diverged is not None
    assert long.summary.diverged is not None
    assert long.summary.continued is None


def test_only_a_training_from_the_same_weights_is_continued(tiny: Make) -> None:
    weights = f"model.weights=run:{execute(tiny('trainer.epochs=1', 'seed=5')).address.id}"
    execute(tiny("trainer.epochs=2", KEEP))
    assert continued(tiny("trainer.epochs=3", weights)).continued is None
    short = execute(tiny("trainer.epochs=2", KEEP, weights))
    long = continued(tiny("trainer.epochs=4", weights))
    assert long.continued is not None
    assert long.continued.run == short.address.id
    assert long.continued.epoch == 2


def test_a_state_may_be_larger_than_a_table(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    short = execute(tiny("trainer.epochs=1", KEEP))
    size = (short.address.path / STATE).stat().st_size
    monkeypatch.setattr("augean.store.run_directory.DATA_BYTES", size - 1)
    assert continued(tiny("trainer.epochs=2")).continued is not None


def test_a_state_that_cannot_be_read_is_named_with_its_reason(
    tiny: Make, caplog: pytest.LogCaptureFixture
) -> None:
    short = execute(tiny("trainer.epochs=1", KEEP))
    state = short.address.path / STATE
    state.unlink()
    state.mkdir()
    with caplog.at_level("INFO"):
        assert continued(tiny("trainer.epochs=2")).continued is None
    assert f"the state of run {short.address.id} cannot be used (cannot read {state}" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"rubbish"])
def test_a_damaged_state_is_passed_over(tiny: Make, tmp_path: Path, damage: bytes) -> None:
    whole = from_the_start(tiny, tmp_path, "trainer.epochs=3")
    short = execute(tiny("trainer.epochs=2", KEEP))
    (short.address.path / STATE).write_bytes(damage)
    long = execute(tiny("trainer.epochs=3", KEEP))
    assert long.summary.continued is None
    assert same_end(whole, long.address.path)


def test_a_continued_run_that_is_killed_resumes_and_still_says_where_it_began(
    tiny: Make, tmp_path: Path, train_until: Kill
) -> None:
    whole = from_the_start(tiny, tmp_path, "trainer.epochs=5")
    execute(tiny("trainer.epochs=2", KEEP))
    train_until(tiny("trainer.epochs=5"), 4)
    long = execute(tiny("trainer.epochs=5", KEEP))
    assert long.summary.num_resumes == 1
    assert long.summary.continued is not None
    assert long.summary.continued.epoch == 2
    assert metrics(whole) == metrics(long.address.path)


def test_resumes_of_the_shorter_run_are_not_counted(tiny: Make, train_until: Kill) -> None:
    short = tiny("trainer.epochs=4")
    train_until(short, 2)
    train_until(short, 3)
    long = execute(tiny("trainer.epochs=5"))
    assert long.summary.continued is not None
    assert long.summary.num_resumes == 0


def test_a_pruner_judges_the_epochs_that_were_trained_before(tiny: Make) -> None:
    execute(tiny("trainer.epochs=3", KEEP))
    asked: list[int] = []

    def prune_at_two(epoch: int, val_accuracy: float | None) -> bool:
        asked.append(epoch)
        return epoch == 2

    with pytest.raises(Pruned):
        execute(tiny("trainer.epochs=5"), should_stop=prune_at_two)
    assert asked == [1, 2]


def test_prefixes_are_found_among_many_runs_longest_first(tiny: Make) -> None:
    for epochs in (1, 3, 2):
        find_address(tiny(f"trainer.epochs={epochs}")).path.mkdir(parents=True)
    config = tiny("trainer.epochs=4")
    prefixes = find_prefixes(config, find_address(config), build_source(config), None)
    assert [prefix.epochs for prefix in prefixes] == [3, 2, 1]
