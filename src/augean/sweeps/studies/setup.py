"""The setting of a tuning study, and the part of it that is fixed once the study has begun."""

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import Trial

from augean.config.run_id import CORE, SCHEMA, code_identity
from augean.config.sweeper_schema import AugeanSweeperConfig
from augean.config.validation import flatten_config
from augean.runs.address import build_source
from augean.runs.weights import find_weights
from augean.store.locks import folder_id
from augean.sweeps.budget import read_timeout
from augean.sweeps.planned_jobs import SweepPlan
from augean.sweeps.studies.sampler import visits_all_points, written_space

SPACE = "space of "
"""Beginning of what an identity calls the values of a searched key."""


@dataclass(frozen=True)
class StudySetup:
    """The setting of a study; `identity` is the part that is fixed once the study has begun."""

    name: str
    storage: str
    space: Mapping[str, BaseDistribution]
    base: Mapping[str, Any]
    """What all trials have in common: the config without the searched keys, flat."""
    num_trials: int
    pruner: Mapping[str, Any]
    """Class and arguments of an Optuna pruner."""
    max_failures: int
    """Trials of one command that may end with an exception before it stops."""
    code: Mapping[str, str] = field(default_factory=dict)
    """Digests of the user's own code, by what has each; as much of it as this process knows."""
    max_seconds: float = math.inf
    """Training time after which no more trials begin."""
    extend: Callable[[Trial], None] | None = None
    """Asks a trial for further values, see `augean.sweeps.studies.custom_space`."""
    default: Mapping[str, Any] | None = None
    """The point of the default configuration, with which a study begins; None where it has none."""
    points: Sequence[Mapping[str, Any]] | None = None
    """All points of the space in the order in which they are visited, where the sampler is that of
    a grid; the study then ends with the last of them."""

    def identity(self) -> dict[str, str]:
        """Return what must not change, by the name that a message has for it."""
        # Constant, and part of the identity of every study in a storage.
        identity: dict[str, str] = {"direction": "maximize"}
        for key, distribution in sorted(self.space.items()):
            identity[f"{SPACE}{key}"] = distribution_to_json(distribution)
        for key, value in self.base.items():
            identity[key] = identity_text(value)
        return {**identity, **self.code}


def make_setup(plan: SweepPlan, options: AugeanSweeperConfig) -> StudySetup:
    """Return the setting of a study."""
    name = plan.record.name
    # What all trials share. The searched keys are in it by their distributions.
    flat = flatten_config(plan.config)
    base = {key: value for key, value in flat.items() if key not in plan.space.distributions}
    source = build_source(plan.config)
    base["data"] = source.digest()
    weights = find_weights(plan.config, source)
    if weights is not None and "model.weights" not in plan.space.distributions:
        base["model.weights"] = weights.digest
    # The lock by which a worker shows that it lives is in the output folder. A worker with another
    # folder would be taken for dead.
    base["runtime.outputs"] = f".id {folder_id(plan.outputs)}"
    if plan.custom is not None:
        base["custom_search_space"] = plan.custom.identity()
    base["schema"] = SCHEMA
    base["core"] = CORE
    # A worker plans no examples of the space, and knows less of the code: whoever started it has
    # compared that.
    code: dict[str, str] = {}
    for job in (plan.base, *plan.samples):
        code |= code_identity(job.config)
    points = None
    if visits_all_points(options.sampler):
        points = plan.space.points()
        # So that fewer trials than points see values of every key, in one order in all workers.
        random.Random(options.sampler.get("seed") or 0).shuffle(points)
    journal = (plan.outputs / "studies" / f"{name}.journal").absolute()
    return StudySetup(
        name=name,
        storage=options.storage or str(journal),
        space=plan.space.distributions,
        base=base,
        code=code,
        num_trials=plan.record.num_trials or 0,
        max_failures=options.max_failures,
        pruner=dict(options.pruner),
        points=points,
        max_seconds=read_timeout(options.timeout),
        default=plan.default,
        extend=None if plan.custom is None else plan.custom.extend,
    )


def displayed_value(key: str, text: str) -> str:
    """Return a value of an identity for people: a space as an override writes it.

    Args:
        key: that the identity has for it.
    """
    if not key.startswith(SPACE):
        return text
    try:
        return written_space(json_to_distribution(text), key.removeprefix(SPACE))
    except (ValueError, TypeError, KeyError):
        return text  # such as one that another version of Optuna has written


def identity_text(value: Any) -> str:
    """Return a value of the base config as an identity holds it."""
    return json.dumps(value, sort_keys=True)
