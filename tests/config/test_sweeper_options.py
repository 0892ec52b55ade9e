"""`hydra.sweeper` of files that were written for Optuna's sweeper, and of Augean's own."""

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from augean.config.sweeper_options import read_options, space_text
from augean.config.sweeper_schema import AugeanSweeperConfig, OptunaSweeperConfig
from augean.errors import ConfigError
from augean.sweeps.composition import parse_search_space


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


@pytest.mark.parametrize(
    ("item", "distribution"),
    [
        (
            {"type": "categorical", "choices": ["relu", "elu"]},
            CategoricalDistribution(("relu", "elu")),
        ),
        ({"type": "categorical", "choices": [16, 32]}, CategoricalDistribution((16, 32))),
        ({"type": "float", "low": 0.5, "high": 0.9}, FloatDistribution(0.5, 0.9)),
        (
            {"type": "float", "low": 1e-4, "high": 1, "log": True},
            FloatDistribution(1e-4, 1.0, log=True),
        ),
        (
            {"type": "float", "low": 0, "high": 0.3, "step": 0.1},
            FloatDistribution(0.0, 0.3, step=0.1),
        ),
        ({"type": "int", "low": 1, "high": 8}, IntDistribution(1, 8)),
        ({"type": "int", "low": 4, "high": 16, "step": 4}, IntDistribution(4, 16, step=4)),
        ({"type": "int", "low": 4, "high": 64, "log": True}, IntDistribution(4, 64, log=True)),
    ],
)
def test_an_entry_of_search_space_is_the_same_distribution(
    item: dict[str, Any], distribution: BaseDistribution
) -> None:
    overrides = OverridesParser.create().parse_overrides([f"key={space_text('key', item)}"])
    search = parse_search_space(overrides)
    assert search.distributions == {"key": distribution}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"type": "real", "low": 0, "high": 1}, "its type must be categorical, int or float"),
        ({"type": "categorical", "choices": []}, "needs choices"),
        ({"type": "float", "low": 0}, "needs numbers low and high"),
        ({"type": "int", "low": "a", "high": 3}, "needs numbers low and high"),
        ("interval(0,1)", "its type must be"),
    ],
)
def test_an_entry_that_says_no_space_is_refused(item: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"hydra.sweeper.search_space.key=.*{message}"):
        space_text("key", item)


def test_options_of_optunas_sweeper_are_translated() -> None:
    file = OptunaSweeperConfig(
        n_trials=12,
        n_jobs=4,
        max_failure_rate=0.25,
        params={"trainer.epochs": 6},
        search_space={"optimizer.lr": {"type": "float", "low": 0.1, "high": 1}},
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
