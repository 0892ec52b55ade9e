"""Names that may be shortened: what a name means, and what is said of one that means nothing."""

import pytest

from augean.errors import AugeanError
from augean.suggestions import choose_by_name

NAMES = ("table", "table2", "tune_lr")


@pytest.mark.parametrize(
    ("name", "chosen"), [("table", "table"), ("table2", "table2"), ("tu", "tune_lr")]
)
def test_a_complete_name_counts_more_than_the_beginning_of_several(name: str, chosen: str) -> None:
    assert choose_by_name(name, NAMES, "sweeps in outputs") == chosen


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tab", "best:tab: names several of the sweeps in outputs; .* There are table, table2\n"),
        ("tune_rl", "best:tune_rl: names none of the sweeps in outputs; did you mean best:tune_lr"),
    ],
)
def test_a_name_that_fits_none_or_several_is_answered_with_those(name: str, message: str) -> None:
    with pytest.raises(AugeanError, match=message) as caught:
        choose_by_name(name, NAMES, "sweeps in outputs", prefix="best:", remarks=["bad.json"])
    assert str(caught.value).endswith("\nbad.json")
