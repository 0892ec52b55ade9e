"""The examples run on a real run and put back what they touch."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from augean.config.schema import Config
from augean.runs.execute import execute
from conftest import ROOT


def test_insight_draws_a_loss_surface_and_the_filters(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    outcome = execute(tiny("model=vgg_a_bn"))
    arguments = [
        "--points",
        "3",
        "--images",
        "30",
        "--data",
        str(tmp_path / "data"),
        "--to",
        str(tmp_path / "pictures"),
    ]
    command = [
        sys.executable,
        str(ROOT / "examples" / "insight.py"),
        str(outcome.address.path),
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    names = {path.name.rsplit("_", 1)[1] for path in (tmp_path / "pictures").glob("*.png")}
    assert names == {"surface.png", "filters.png"}


def test_directions_have_the_norm_of_the_networks_filters_and_leave_vectors_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    from insight import filter_normalised_direction

    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2)
    )
    direction = filter_normalised_direction(network, torch.Generator().manual_seed(0))
    for parameter, step in zip(network.parameters(), direction, strict=True):
        if parameter.ndim < 2:
            assert not step.any()
        else:
            torch.testing.assert_close(
                step.flatten(1).norm(dim=1), parameter.detach().flatten(1).norm(dim=1)
            )
