"""`hydra.sweeper` of files that were written for Optuna's sweeper, and of Augean's own."""

from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from augean.config.sweeper_options import read_options
from augean.config.sweeper_schema import AugeanSweeperConfig, OptunaSweeperConfig
from augean.errors import ConfigError


def composed(sweeper: Any, choice: str = "optuna", workers: int = 1) -> DictConfig:
    """Return the part of a sweep's config that its options are read from."""
    node = OmegaConf.to_container(OmegaConf.structured(sweeper))
    assert isinstance(node, dict)
    for key in ("defaults", "_target_"):
        node.pop(key, None)
    node.setdefault("sampler", {})
    node["sampler"] = {"_target_": "optuna.samplers.RandomSampler"}
    runtime = {"choices": {"hydra/sweeper": choice}}
    return OmegaConf.create(
        {"hydra": {"sweeper": node, "runtime": runtime}, "runtime": {"workers": workers}}
    )


def test_options_of_optunas_sweeper_are_translated() -> None:
    file = OptunaSweeperConfig(
        n_trials=12,
        n_jobs=4,
        max_failure_rate=0.25,
        params={"optimizer.lr": "interval(0.1, 1.0)", "trainer.epochs": 6},
    )
    options = read_options(composed(file))
    assert options.sweeper.n_trials == 12
    assert options.sweeper.max_failures == 3
    # Optuna's own default, minimize, would look for the worst accuracy.
    assert options.sweeper.direction == "maximize"
    assert options.sweeper.pruner == {"_target_": "optuna.pruners.NopPruner"}
    lines = ["runtime.workers=4", "optimizer.lr=interval(0.1, 1.0)", "trainer.epochs=6"]
    assert options.lines() == lines
    assert options.notice is not None
    assert "runtime.workers=4 (n_jobs=4)" in options.notice


def test_workers_that_are_asked_for_count_more_than_n_jobs() -> None:
    options = read_options(composed(OptunaSweeperConfig(n_jobs=4), workers=3))
    assert options.workers is None
    assert "runtime.workers=3 (n_jobs=4)" in str(options.notice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": ["maximize", "minimize"]}, "a study has one objective"),
        ({"storage": {"_target_": "optuna.storages.RDBStorage"}}, "must be a URL"),
    ],
)
def test_what_has_no_counterpart_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_options(composed(OptunaSweeperConfig(**options)))


def test_a_sweeper_that_leaves_no_record_is_refused() -> None:
    with pytest.raises(ConfigError, match="hydra/sweeper: basic is not a sweeper"):
        read_options(composed({"max_batch_size": None}, choice="basic"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_trial": 3}, r"sweeper.n_trial: there is no such key.*sweeper.n_trials"),
        ({"confirm": {"seed": 1}}, r"confirm.seed: there is no such key.*confirm.seeds"),
    ],
)
def test_an_added_key_is_refused_at_every_level(options: dict[str, Any], message: str) -> None:
    sweep = composed(AugeanSweeperConfig(pruner={}), choice="augean")
    sweep.hydra.sweeper = OmegaConf.merge(OmegaConf.to_container(sweep.hydra.sweeper), options)
    with pytest.raises(ConfigError, match=message):
        read_options(sweep)
