"""The interval for new seeds and new test images: its variance, its flag, and what it needs."""

import math
from pathlib import Path
from typing import Any

import image_errors
import numpy
import pandas
import pytest

from augean.analysis.images import (
    image_half_width,
    image_variance,
    images_needed,
    row_images,
)
from augean.analysis.verdict import Difference, Verdict
from augean.report import make_report
from augean.store.run_directory import runs_dir
from fake_runs import sign, write_record, write_run

ROOT = Path(__file__).parents[2]
DECIDED = Difference(value=2.0, low=1.0, high=3.0, verdict=Verdict.BETTER, n=5, margin=0.5)


def test_the_image_variance_has_no_bias_from_few_seeds() -> None:
    generator = numpy.random.default_rng(0)
    found = []
    # Rows differ in every image by a deviation of 0.2 in the chance to be right.
    for _ in range(400):
        chances = 0.7 + 0.2 * generator.choice([-1, 1], size=(2, 1, 200))
        rows = [row_images(generator.random((3, 200)) < chance) for chance in chances]
        found.append(image_variance(*rows))
    assert numpy.mean(found) == pytest.approx((0.2**2 + 0.2**2) / 200, rel=0.05)


def test_images_that_all_rows_find_equally_hard_leave_nothing_open() -> None:
    generator = numpy.random.default_rng(0)
    chance = generator.random(2000)
    rows = [row_images(generator.random((10, 2000)) < chance) for _ in range(2)]
    of_one_row = float(rows[0].shares.var()) / 2000
    assert image_variance(*rows) < 0.01 * of_one_row


def test_95_of_100_intervals_hold_the_truth_for_new_seeds_and_images() -> None:
    generator = numpy.random.default_rng(3)
    num_tables = 600
    held = 0
    for _ in range(num_tables):
        # Each row has images of its own that it is good at; seeds differ by chance.
        chances = 0.8 + 0.15 * generator.choice([-1, 1], size=(2, 1, 300))
        rows = [generator.random((8, 300)) < chance for chance in chances]
        scores = [100 * bits.mean(axis=1) for bits in rows]
        error = float(scores[0].mean() - scores[1].mean())
        of_seeds = 2.145 * math.sqrt(sum(values.var(ddof=1) for values in scores) / 8)
        of_images = image_half_width(row_images(rows[0]), row_images(rows[1]), 1)
        held += abs(error) <= math.hypot(of_seeds, of_images)
    assert 0.93 <= held / num_tables <= 0.97


def test_disjoint_seeds_and_images_of_real_runs_agree_within_both_variances() -> None:
    pool = image_errors.read_pool()
    generator = numpy.random.default_rng(0)
    shares = []
    for num_images in (150, 1000):
        alone, both = image_errors.compare_halves(
            generator, pool["relu"], pool["leaky_relu"], 8, num_images, num_tables=400
        )
        assert alone <= both
        shares.append(both)
    assert 0.93 <= numpy.mean(shares) <= 0.97


def test_the_flag_stands_where_images_could_turn_the_verdict() -> None:
    assert not DECIDED.on_these_images  # nothing is known of images
    assert not DECIDED._replace(image_half=1.5).on_these_images
    flagged = DECIDED._replace(image_half=1.8, num_images=300)
    assert flagged.on_these_images
    assert flagged.verdict is Verdict.BETTER
    assert flagged.text == "better, on these images"
    assert not flagged._replace(verdict=Verdict.UNDECIDED).on_these_images
    same = Difference(value=0.1, low=-0.2, high=0.4, verdict=Verdict.EQUIVALENT, margin=0.5)
    assert not same._replace(image_half=0.2).on_these_images
    assert same._replace(image_half=0.4).text == "equivalent (±0.5), on these images"


def test_half_the_width_needs_four_times_the_images() -> None:
    assert images_needed(DECIDED._replace(image_half=2.0, num_images=300), margin=0.5) == 4800


def write_table(outputs: Path, seeds: int = 4) -> list[dict[str, Any]]:
    """Two rows whose seeds agree well and whose images are drawn without any relation."""
    jobs = []
    for name, accuracy in (("relu", 0.90), ("elu", 0.92)):
        for seed in range(seeds):
            own = accuracy + 0.001 * seed
            jobs.append(write_run(outputs, activation__name=name, seed=seed, accuracy=own))
    write_record(outputs, "one", jobs, row_key="activation.name", baseline="relu")
    return jobs


def rewrite(outputs: Path, jobs: list[dict[str, Any]]) -> None:
    """Let all seeds of a row be right about the same images; rows fail at different ones."""
    for job in jobs:
        path = runs_dir(outputs) / job["run"]
        right = numpy.ones(300, bool)
        right[:30] = job["row"] == "elu"
        right[30:54] = job["row"] == "relu"
        numpy.save(path / "correct.npy", numpy.packbits(right))
        sign(path)


def test_table_and_page_say_what_holds_on_these_images_alone(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    rewrite(tmp_path, jobs)
    result = make_report(tmp_path)
    line = pandas.read_csv(result.directory / "tables/one.csv").set_index("row").loc["elu"]
    assert line.difference_verdict == "better, on these images"
    assert line.difference_low > 0 > line.difference_low_new_images
    assert line.difference_high < line.difference_high_new_images
    for name in ("tables/one.tex", "report.md", "index.html"):
        text = " ".join((result.directory / name).read_text().split())
        assert "On these images: elu" in text
        assert "better, on these images" in text
    # 54 of 300 images differ between the rows: 0.42 a root of 300, times 1.97.
    assert "these images leave up to ±4.82 points open; ±0.5 needs about 28,000 test" in text


def test_runs_without_a_record_of_images_have_no_second_interval(tmp_path: Path) -> None:
    jobs = write_table(tmp_path)
    (runs_dir(tmp_path) / jobs[0]["run"] / "correct.npy").unlink()
    result = make_report(tmp_path)
    assert result.exit_code == 0
    assert "with new images" not in (result.directory / "tables/one.md").read_text()


def test_other_test_sets_are_not_compared_image_by_image(tmp_path: Path) -> None:
    for job in write_table(tmp_path):
        if job["row"] == "elu":
            sign(runs_dir(tmp_path) / job["run"], data_digest="another")
    result = make_report(tmp_path)
    assert "with new images" not in (result.directory / "tables/one.md").read_text()


@pytest.mark.parametrize(
    "content", [b"no array", b"PK\x03\x04 no archive", b"\x93NUMPY\x01\x00\x06\x00{'a':("]
)
def test_a_damaged_record_of_images_is_named_and_the_rest_is_shown(
    content: bytes, tmp_path: Path
) -> None:
    jobs = write_table(tmp_path)
    path = runs_dir(tmp_path) / jobs[0]["run"]
    (path / "correct.npy").write_bytes(content)
    # As in a run from elsewhere, whose digests are those of such content.
    sign(path)
    result = make_report(tmp_path)
    assert result.exit_code == 2
    assert [problem.path for problem in result.problems] == [f"runs/{jobs[0]['run']}/correct.npy"]
    assert "better" in (result.directory / "tables/one.md").read_text()
