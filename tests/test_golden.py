"""Golden loss curves: when one changes, Augean's mathematics has changed and `CORE` must be
raised.
"""

import json
from collections.abc import Callable

import numpy
import pytest

from augean.config.run_id import CORE
from augean.config.schema import Config
from augean.runs.execute import execute
from conftest import ROOT

GOLDEN = json.loads((ROOT / "tests" / "golden_curves.json").read_text())
"""Loss of every step, by overrides, with the `core` number that they belong to. fp32, one thread,
x86-64."""


@pytest.mark.parametrize("overrides", GOLDEN["curves"])
def test_a_golden_loss_curve_holds(tiny: Callable[..., Config], overrides: str) -> None:
    assert GOLDEN["core"] == CORE
    outcome = execute(tiny("optimizer.lr=0.01", *overrides.split(), "record.step_loss=true"))
    # Other processors sum in another order; a change of the mathematics shows far above this.
    assert numpy.load(outcome.address.path / "steps.npy") == pytest.approx(
        GOLDEN["curves"][overrides], rel=2e-3
    )
