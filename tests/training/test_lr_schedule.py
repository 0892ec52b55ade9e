"""Schedules: the plateau rule is PyTorch's, the others are their formulas."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augean.config.schema import ScheduleConfig
from augean.training.lr_schedule import LRSchedule


@given(
    losses=st.lists(
        st.sampled_from([0.5, 0.9, 0.95, 1.0, 1.0001, 2.0, math.inf]), min_size=1, max_size=60
    ),
    patience=st.integers(0, 4),
    factor=st.sampled_from([0.1, 0.5]),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
)
@settings(max_examples=200, deadline=None)
def test_the_plateau_rule_halves_where_pytorchs_does(
    losses: list[float], patience: int, factor: float, threshold: float
) -> None:
    config = ScheduleConfig(name="plateau", patience=patience, factor=factor, threshold=threshold)
    ours = LRSchedule(config, initial=0.1, num_steps=len(losses))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, eps=0
    )
    for epoch, loss in enumerate(losses):
        ours.end_epoch(loss)
        theirs.step(loss)
        assert ours.lr_at(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)


def rates(name: str, num_steps: int, warmup: float = 0.0) -> list[float]:
    schedule = LRSchedule(
        ScheduleConfig(name=name, warmup=warmup), initial=0.4, num_steps=num_steps
    )
    return [schedule.lr_at(step) for step in range(num_steps)]


def test_cosine_without_warmup_is_pytorchs() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for rate in rates("cosine", 50):
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no step of the optimizer before the scheduler's
            theirs.step()


def test_onecycle_rises_to_the_initial_rate_and_falls_to_nearly_zero() -> None:
    one = rates("onecycle", 100, warmup=0.3)
    assert max(one) == one[29] == one[30] == 0.4
    assert one[:30] == sorted(one[:30])
    assert one[30:] == sorted(one[30:], reverse=True)
    assert one[-1] == pytest.approx(0.4 / 70)


def test_constant_stays() -> None:
    assert set(rates("constant", 10)) == {0.4}


def test_a_restored_schedule_goes_on_as_if_never_interrupted() -> None:
    config, losses = ScheduleConfig(name="plateau", patience=1), [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    whole, first = LRSchedule(config, 0.1, 6), LRSchedule(config, 0.1, 6)
    for loss in losses:
        whole.end_epoch(loss)
    for loss in losses[:3]:
        first.end_epoch(loss)
    second = LRSchedule(config, 0.1, 6)
    second.restore(first.state())
    for loss in losses[3:]:
        second.end_epoch(loss)
    assert second == whole
