"""Part 2 in the report: the band over learning rates and the probes, from real tiny runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from augean.config.schema import Config
from augean.report import make_report
from augean.runs.address import RunOutcome
from augean.runs.execute import execute
from augean.store.sweep_record import SweepJob, SweepRecord

Make = Callable[..., Config]


def write_record(outputs: Path, runs: list[tuple[str, RunOutcome]], **fields: Any) -> None:
    jobs = [SweepJob(run.address.id, run.address.path.name, row, 0) for row, run in runs]
    SweepRecord(
        name="part2", title="Part 2", command="again", created="now", jobs=jobs, **fields
    ).write(outputs)


@pytest.fixture
def band(tiny: Make, tmp_path: Path) -> tuple[Path, dict[str, RunOutcome]]:
    """VGG-A at three rates of which one diverges, and with batch norm at two."""
    runs = {}
    for model, rates in (("vgg_a", ("0.01", "0.001", "1e18")), ("vgg_a_bn", ("0.01", "0.001"))):
        for rate in rates:
            runs[f"{model}, {rate}"] = execute(
                tiny(
                    f"model={model}",
                    f"optimizer.lr={rate}",
                    "schedule=constant",
                    "record.step_loss=true",
                )
            )
    write_record(tmp_path / "outputs", list(runs.items()), band="model.name", figure="Figure 10")
    return tmp_path / "outputs", runs


def test_the_band_lies_between_the_smallest_and_largest_loss_of_each_step(
    band: tuple[Path, dict[str, RunOutcome]],
) -> None:
    outputs, runs = band
    result = make_report(outputs)
    assert result.problems == []
    for kind in ("png", "svg"):
        assert (outputs / "report" / "figures" / f"part2_band.{kind}").stat().st_size > 1000
    table = pandas.read_csv(outputs / "report" / "figures" / "part2_band.csv")
    for model in ("vgg_a", "vgg_a_bn"):
        steps = [
            numpy.load(runs[f"{model}, {rate}"].address.path / "steps.npy")
            for rate in ("0.01", "0.001")
        ]
        assert table[f"{model} lowest"].to_numpy() == pytest.approx(numpy.minimum(*steps))
        assert table[f"{model} highest"].to_numpy() == pytest.approx(numpy.maximum(*steps))


def test_a_rate_that_diverged_is_named_and_left_out_of_the_band(
    band: tuple[Path, dict[str, RunOutcome]],
) -> None:
    outputs, runs = band
    assert runs["vgg_a, 1e18"].summary.status == "diverged"
    make_report(outputs)
    text = (outputs / "report" / "report.md").read_text()
    assert "Diverged and left out: vgg_a, 1e18, seed 0" in text
    assert "vgg_a 0." in text
    assert "(rates 0.01, 0.001)" in text


def test_the_probes_of_a_table_become_three_panels_and_a_csv(tiny: Make, tmp_path: Path) -> None:
    runs = [
        (model, execute(tiny(f"model={model}", "record.probe_every=5")))
        for model in ("vgg_a", "vgg_a_bn")
    ]
    write_record(tmp_path / "outputs", runs, row_keys=["model.name"])
    result = make_report(tmp_path / "outputs")
    assert result.problems == []
    assert (result.directory / "figures" / "part2_probe.png").exists()
    table = pandas.read_csv(result.directory / "figures" / "part2_probe.csv")
    assert list(table.row.unique()) == ["vgg_a", "vgg_a_bn"]
    raw = pandas.read_csv(runs[0][1].address.path / "probe.csv")
    own = table[table.row == "vgg_a"].set_index("step")
    for step, points in raw.groupby("step"):
        assert own.loss_highest[step] == pytest.approx(points.loss.max())
        assert own.distance_lowest[step] == pytest.approx(
            points.gradient_distance[points.step_size > 0].min()
        )
        assert own.smoothness[step] == pytest.approx(points.smoothness.max())


def test_a_damaged_file_of_losses_is_a_problem_with_its_path(
    band: tuple[Path, dict[str, RunOutcome]],
) -> None:
    outputs, runs = band
    (runs["vgg_a, 0.01"].address.path / "steps.npy").write_bytes(b"nothing")
    result = make_report(outputs)
    assert any("steps.npy" in problem.path for problem in result.problems)
    assert (outputs / "report" / "figures" / "part2_band.png").exists()
