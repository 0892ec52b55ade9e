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
FIRST_STEPS = 5
"""One epoch: of this length are the steps that processors agree on."""


@pytest.mark.parametrize("overrides", GOLDEN["curves"])
def test_a_golden_loss_curve_holds(tiny: Callable[..., Config], overrides: str) -> None:
    assert GOLDEN["core"] == CORE
    outcome = execute(tiny("optimizer.lr=0.01", *overrides.split(), "record.step_loss=true"))
    losses = numpy.load(outcome.address.path / "steps.npy")
    golden = GOLDEN["curves"][overrides]
    # Other processors sum in another order. In the first steps that is the last bits, and a change
    # of the mathematics shows far above it; later steps multiply it, by up to 1e5 in ten of them.
    assert losses[:FIRST_STEPS] == pytest.approx(golden[:FIRST_STEPS], rel=1e-5)
    assert losses == pytest.approx(golden, rel=3e-2)
