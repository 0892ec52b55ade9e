"""`augean status` of a sweep that was not launched: checked as a launch would, and more; nothing is
written.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from augean.config.compose import compose
from augean.datasets.digits import Digits
from augean.errors import AugeanError
from augean.runs.address import count_train_images
from augean.runs.execute import execute
from augean.store.run_directory import runs_dir
from augean.sweeps.plan import plan_file, plan_for
from augean.sweeps.preview import describe_plan
from augean.sweeps.studies.sampler import spanning_points
from augean.terminal import readable_seconds
from commands import Done, augean
from conftest import TINY


def preview(
    name: str, overrides: Sequence[str], outputs: Path, folder: Path | None = None
) -> list[str]:
    return describe_plan(plan_for(outputs, name, overrides, folder))


def status(outputs: Path, *arguments: str) -> Done:
    return augean("status", *arguments, "--outputs", str(outputs))


def test_a_preview_tells_what_is_done_and_scales_the_time_of_like_runs(tmp_path: Path) -> None:
    outputs = tmp_path / "out"
    done = status(outputs, "table1_activation", *TINY)
    assert done.returncode == 0, done.stderr
    assert "9 runs: 9 missing" in done.stdout
    assert "no estimate of the time: no finished run" in done.stdout
    assert not outputs.exists()
    # The row relu, seed 0 of the sweep; the estimate is for the other eight, and twice the epochs
    # take twice as long.
    row = compose(["experiment=report", "activation=relu", *TINY, f"runtime.outputs={outputs}"])
    seconds = execute(row).summary.seconds
    before = sorted(outputs.rglob("*"))
    lines = preview("table1_activation", TINY, outputs)
    assert "9 runs: 1 finished, 8 missing" in lines[1]
    assert f"about {readable_seconds(8 * seconds)} of training for 8 runs" in lines[3]
    lines = preview("table1_activation", [*TINY, "trainer.epochs=6"], outputs)
    assert f"about {readable_seconds(18 * seconds)} of training for 9 runs" in lines[3]
    lines = preview("table1_activation", [*TINY, "width.channels=4,6"], outputs)
    assert "for 8 runs" in lines[3]
    assert "nothing to go by for 9 more" in lines[3]
    assert sorted(outputs.rglob("*")) == before


def test_a_preview_of_a_study_counts_the_seeds_that_follow_its_trials(tmp_path: Path) -> None:
    run = compose(["experiment=report", *TINY, f"runtime.outputs={tmp_path}"])
    seconds = execute(run).summary.seconds
    study = [*TINY, "hydra.sweeper.n_trials=4"]
    seeds = ["hydra.sweeper.confirm={top: 2, seeds: 5}", "hydra.sweeper.final_seeds=3"]
    _, request, _, time = preview("tune_sgd", study, tmp_path)[:4]
    assert request.endswith("momentum")
    assert f"at most about {readable_seconds(4 * seconds)} of training" in time
    _, request, _, time = preview("tune_sgd", [*study, *seeds], tmp_path)[:4]
    assert request.endswith("; then the best 2 on 5 seeds each; then the winner on 3 seeds")
    assert f"at most about {readable_seconds((4 + 2 * 5 + 3) * seconds)} of training" in time


def test_a_launched_sweep_is_read_from_its_record(tmp_path: Path) -> None:
    arguments = ["table1_activation", *TINY, "activation=leaky_relu", "trainer.epochs=1"]
    assert "missing" in status(tmp_path, *arguments).stdout
    done = augean("train", "-cn", *arguments, "seed=0", f"runtime.outputs={tmp_path}")
    assert done.returncode == 0, done.stderr
    launched = status(tmp_path, *arguments, "seed=0", "runtime.workers=3")
    assert "1 finished" in launched.stdout
    assert "not launched yet" not in launched.stdout
    other = status(tmp_path, *arguments, "seed=0,1")
    assert "not launched yet" in other.stdout
    assert "2 runs: 1 finished, 1 missing" in other.stdout


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        (
            "table1_activation",
            ["trainer.epochs=3,0"],
            r"trainer.epochs=0: must be at least 1\n  in .*and 8 more",
        ),
        (
            "table1_activation",
            ["activation=relu,rellu"],
            "activation=rellu: no such option; did you mean",
        ),
        (
            "table1_activation",
            ["activation=elu", "runtime.table.baseline=relu"],
            "baseline=relu: not among the rows",
        ),
        (
            "optimizer_lr",
            ["optimizer=sgd,adam", "optimizer.lr=0.1,0.01", "runtime.table.baseline=sgd"],
            "not among the rows sgd, 0.1; sgd, 0.01; adam, 0.1; adam, 0.01; choose one of them",
        ),
        (
            "table4_optimizer",
            ["optimizer=sgd,adam", "optimizer.momentum=0.5"],
            r"Adam takes .*\n  in adam$",
        ),
        (
            "table1_activation",
            ["trainer.freeze=none,until stage7"],
            r"^trainer.freeze=until stage7: the network has no module .*\n  in .*elu",
        ),
        (
            "stem",
            ["model=resnet18,vgg_a", "model.stem=imagenet"],
            r"^model.stem: VGG takes .*\n  in vgg_a$",
        ),
        (
            "table1_activation",
            ["dataset=image_folder", "dataset.name=photos"],
            "dataset.name=photos: cannot read",
        ),
        (
            "table1_activation",
            ["dataset.num_val=100,3000"],
            r"num_val=3000: there are 1497 training images .*\n  in .*num_val=3000 and 8 more",
        ),
        (
            "table1_activation",
            ["dataset.num_val=100", "dataset.num_train=1400"],
            "num_train=1400: of 1497 .*num_val=100 leaves 1397",
        ),
        ("table1_activation", ["dataset.num_train=1,64"], "the last batch of 1 training image has"),
        (
            "table1_activation",
            ["dataset.num_val=149", "trainer.batch_size=64,449"],
            "batch_size=449: the last",
        ),
        ("tune_final", ["schedule=cosine,cosin"], "schedule=cosin: no such option"),
        (
            "tune_final",
            ["optimizer.momentum=interval(0.5,2)"],
            "optimizer.momentum=2.0: must be at least 0 and at most",
        ),
        (
            "tune_final",
            ["model=resnet18,vgg_a", "model.stem=cifar,imagenet"],
            r"^model.stem: VGG takes .*\n  in .* model=vgg_a model.stem=imagenet; ",
        ),
    ],
)
def test_a_preview_names_the_row_that_is_wrong(
    tmp_path: Path, name: str, overrides: list[str], message: str
) -> None:
    by_model = (
        ["runtime.table.row=model.name", "runtime.table.baseline=null"] if name == "stem" else []
    )
    with pytest.raises(AugeanError, match=message):
        preview(name, ["dataset=digits", *by_model, *overrides], tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_that_no_run_could_begin_from_are_refused_by_a_preview(tmp_path: Path) -> None:
    outputs = tmp_path / "out"
    # The network of the sweep file, so that its weights fit there.
    settings = [*TINY, "schedule=constant", f"runtime.outputs={outputs}"]
    first = execute(compose(["activation=relu", "trainer.epochs=1", *settings]))
    rows = ["activation=relu,elu", "runtime.table.baseline=relu"]
    asked = [*rows, *settings, f"model.weights=run:{first.address.id}"]
    assert "missing" in preview("table1_activation", asked, outputs)[1]
    with pytest.raises(AugeanError, match=r"model.weights=run:.*: .*another shape.*\n  in relu"):
        preview("table1_activation", [*asked, "width.channels=8"], outputs)
    (first.address.path / "best.pt").unlink()
    with pytest.raises(AugeanError, match=r"best.pt is not here; .*\n  augean train .*\n  in relu"):
        preview("table1_activation", asked, outputs)
    done = augean("train", "-cn", "table1_activation", *asked)
    assert done.returncode == 1
    assert "best.pt is not here" in done.stderr
    assert [path.name for path in runs_dir(outputs).iterdir()] == [first.address.path.name]


def test_a_sweep_counts_its_images_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    def count(source: Digits) -> int:
        counted.append(source.name)
        return source.num_train

    monkeypatch.setattr(Digits, "count_train_images", count)
    count_train_images.cache_clear()
    lines = preview("table1_activation", ["dataset=digits", "dataset.num_val=100"], tmp_path)
    assert "9 runs: 9 missing" in lines[1]
    assert counted == ["digits"]


def test_a_studys_preview_sees_every_choice_and_both_ends_of_every_range(tmp_path: Path) -> None:
    plan = plan_file("tune_final", ["experiment=demo"])
    points: list[dict[str, Any]] = spanning_points(plan.space.distributions)
    assert {point["activation"] for point in points} == {
        "relu",
        "leaky_relu",
        "elu",
        "gelu",
        "silu",
    }
    assert {point["optimizer.lr"] for point in points} == {0.01, 1.0}
    assert {job.config.activation.name for job in plan.samples} == {
        point["activation"] for point in points
    }
    lines = preview("tune_final", ["experiment=demo", "hydra.sweeper.n_trials=7"], tmp_path)
    assert "7 trials over optimizer.lr, optimizer.momentum" in lines[1]
    assert not list(tmp_path.iterdir())


def test_a_study_may_fix_what_only_its_choices_take(tmp_path: Path) -> None:
    # The default optimizer, SGD, takes no eps.
    sweep_file = """
        defaults: [config, _self_]
        hydra:
          mode: MULTIRUN
          sweeper:
            n_trials: 2
            params:
              optimizer: adam,adamw
              +optimizer.arguments.eps: 1e-7
    """
    (tmp_path / "betas.yaml").write_text(textwrap.dedent(sweep_file))
    lines = preview("betas", ["experiment=demo"], tmp_path / "outputs", tmp_path)
    assert "2 trials over optimizer" in lines[1]


def test_a_sweep_file_of_ones_own_has_a_preview_and_a_wrong_name_a_hint(tmp_path: Path) -> None:
    sweep_file = """
        defaults: [config, override experiment: demo, _self_]
        hydra:
          mode: MULTIRUN
          sweeper:
            params:
              regularization.label_smoothing: 0.0,0.1
    """
    (tmp_path / "smoothing.yaml").write_text(textwrap.dedent(sweep_file))
    done = status(tmp_path / "out", "-cd", str(tmp_path), "smoothing", "seed=0,1")
    assert "4 runs: 4 missing" in done.stdout, done.stderr
    # As in a launch, the folder adds to Augean's own files and options.
    done = status(tmp_path / "out", "-cd", str(tmp_path), "stem", "experiment=demo")
    assert "6 runs: 6 missing" in done.stdout, done.stderr
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 5\n")
    grid = ["-m", "experiment=mine", "activation=relu,elu", *TINY]
    done = status(tmp_path / "out", "-cd", str(tmp_path), *grid)
    assert "2 runs: 2 missing" in done.stdout, done.stderr
    done = status(tmp_path / "out", "tabel3_width")
    assert done.returncode == 1
    assert "did you mean table3_width?" in done.stderr


def test_status_of_a_launched_sweep_says_what_its_edited_file_asks_for(tmp_path: Path) -> None:
    sweep_file = """
        defaults: [config, _self_]
        hydra:
          mode: MULTIRUN
          sweeper:
            params:
              seed: 0,1
              activation: relu,elu
    """
    file = tmp_path / "mine" / "rows.yaml"
    file.parent.mkdir()
    file.write_text(textwrap.dedent(sweep_file))
    outputs = tmp_path / "out"
    tiny = [*TINY, "trainer.epochs=1"]
    words = ["-cd", str(file.parent), "-cn", "rows", *tiny]
    done = augean("train", *words, f"runtime.outputs={outputs}")
    assert done.returncode == 0, done.stderr
    before = sorted(outputs.rglob("*"))
    assert "has changed" not in status(outputs, *words).stdout
    edited = sweep_file.replace("seed: 0,1", "seed: 0,2").replace("relu,elu", "relu,gelu")
    file.write_text(textwrap.dedent(edited))
    changed = status(outputs, *words)
    assert changed.returncode == 0, changed.stderr
    assert "4 finished" in changed.stdout
    assert "A launch asks for 4 runs now: 1 finished, 3 missing" in changed.stdout
    assert "new: 3 runs, seeds 0, 2 of gelu; relu" in changed.stdout
    assert "no longer asked for: 3 runs, seeds 0, 1 of elu; relu" in changed.stdout
    # Not where records alone are asked for, of which there may be many.
    assert "has changed" not in status(outputs, "rows", *tiny).stdout
    file.write_text(textwrap.dedent(edited.replace("gelu", "gellu")))
    wrong = status(outputs, *words)
    assert wrong.returncode == 1
    assert "4 finished" in wrong.stdout
    assert "activation=gellu: no such option" in wrong.stderr
    assert sorted(outputs.rglob("*")) == before


def test_a_file_of_ones_own_comes_before_augeans_sweep_of_its_name(tmp_path: Path) -> None:
    sweep_file = """
        defaults: [config, override experiment: demo, _self_]
        hydra:
          mode: MULTIRUN
          sweeper:
            params:
              regularization.dropout: 0,0.1,0.2,0.3
        runtime:
          table: {title: My dropout, row: regularization.dropout, baseline: "0"}
    """
    (tmp_path / "dropout.yaml").write_text(textwrap.dedent(sweep_file))
    words = ["-cd", str(tmp_path), "dropout"]
    done = status(tmp_path / "out", *words)
    assert "dropout (My dropout): not launched yet\n  4 runs" in done.stdout, done.stderr
    # As in the launch that settling begins with.
    plan = plan_file("dropout", ["runtime.table.baseline=0.3"], tmp_path)
    assert plan.record.baseline == "0.3"
