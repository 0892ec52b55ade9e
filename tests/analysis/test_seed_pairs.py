"""Rows hardly move together over equal seeds: why they are not paired."""

import pandas
import pytest
import seed_pairs as bench

from conftest import ROOT


@pytest.fixture(scope="module")
def measured() -> pandas.DataFrame:
    return pandas.read_csv(bench.RESULTS / "seed_pairs.csv").set_index("source")


def test_the_correlation_over_seeds_is_computed_again(measured: pandas.DataFrame) -> None:
    archive = ROOT / "results" / "cifar32" / "runs.tar.xz"
    sources = {
        "digits_pool": bench.rows_of_pool(bench.POOL),
        "cifar32": bench.rows_of_archive(archive),
    }
    for source, rows in sources.items():
        pairs = list(bench.pairs_of(rows))
        assert len(pairs) == measured.pairs[source]
        correlation = bench.mean_correlation(pairs)
        assert correlation == pytest.approx(measured.correlation[source], abs=0.001)


def test_no_source_has_a_correlation_that_makes_pairing_worth_it(
    measured: pandas.DataFrame,
) -> None:
    # With ten seeds pairs need 0.14 to make up for their fewer degrees of freedom.
    assert (measured.correlation < 0.10).all()


def test_rows_that_begin_with_the_same_steps_are_no_pair() -> None:
    scores = {0: 50.0, 1: 51.0, 2: 53.0}
    short = bench.Row(beginning="sgd", scores=scores)
    long = bench.Row(beginning="sgd", scores=scores)
    other = bench.Row(beginning="adam", scores=scores)
    flat = bench.Row(beginning="flat", scores=dict.fromkeys(scores, 10.0))
    assert list(bench.pairs_of([short, long])) == []
    assert list(bench.pairs_of([short, flat])) == []
    assert bench.mean_correlation(list(bench.pairs_of([short, other]))) == pytest.approx(1.0)
