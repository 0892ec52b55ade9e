"""Say whether rows of different tables may be compared: the same test images, the same hardware."""

from augean.analysis.comparison import Row


def same_test_set(first: Row, second: Row) -> bool:
    """Return whether all runs of both rows were tested on the same images of the same size."""
    return len(_test_sets(first) | _test_sets(second)) == 1


def same_hardware(first: Row, second: Row) -> bool:
    """Return whether all runs of both rows had the same device and as many threads."""
    return len(_hardware(first) | _hardware(second)) == 1


def _test_sets(row: Row) -> set[tuple[object, ...]]:
    # A custom loop need not say how large its images are.
    sizes = [summary.config.get("dataset.image_size") for summary in row.summaries]
    test_sets = [summary.test_set for summary in row.summaries]
    return set(zip(test_sets, sizes, strict=True))


def _hardware(row: Row) -> set[tuple[object, ...]]:
    return {(summary.device, summary.threads) for summary in row.summaries}
