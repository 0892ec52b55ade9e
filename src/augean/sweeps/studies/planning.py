"""Plan a study: what it searches, its base config and its record."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from augean.config.schema import Config
from augean.config.sweeper_options import SweepOptions, check_study_options
from augean.config.sweeper_schema import AugeanSweeperConfig
from augean.errors import ConfigError
from augean.store.record_identity import record_path
from augean.store.sweep_record import read_record
from augean.sweeps.budget import read_timeout
from augean.sweeps.composition import Composition, parse_search_space
from augean.sweeps.planned_jobs import PlannedJob, SweepPlan, plan_jobs
from augean.sweeps.points import RECORD_NAME, RECORD_NAME_RULE, Point
from augean.sweeps.record_draft import RecordDraft
from augean.sweeps.studies.custom_space import KEY, CustomSpace, find_custom_space
from augean.sweeps.studies.default_point import find_default
from augean.sweeps.studies.sampler import (
    LUCK_KEYS,
    SearchSpace,
    make_sampler,
    spanning_points,
    visits_all_points,
)
from augean.sweeps.sweep_overrides import effective


def plan_study(
    composition: Composition,
    options: SweepOptions,
    overrides: Sequence[Override],
    draft: RecordDraft,
    *,
    with_samples: bool,
) -> SweepPlan:
    sweeper = options.sweeper
    if sweeper.rows or sweeper.ablate:
        raise ConfigError(
            "hydra.sweeper.rows and ablate make a grid: leave hydra.sweeper.n_trials out"
        )
    check_study_options(sweeper)
    search = parse_search_space(effective(overrides))
    space = search.distributions
    custom = _find_custom_space(composition, sweeper, search)
    if not space and custom is None:
        raise ConfigError(
            "hydra.sweeper.n_trials makes a study, which needs something to search: "
            "for example optimizer.lr='tag(log,interval(1e-4,1))' or activation=relu,elu"
        )
    _refuse_luck(search.texts)
    _check_study_name(sweeper.study_name)
    base, *samples = _plan_samples(composition, search, custom, with_samples=with_samples)
    for job in (base, *samples):
        refuse_without_validation(job.config)
    make_sampler(sweeper.sampler, space, 0)  # refuses what it cannot sample
    record = replace(
        draft.make(base.config, name=sweeper.study_name),
        kind="study",
        num_trials=_count_trials(sweeper, search),
        timeout=_describe_timeout(sweeper),
        confirm=asdict(sweeper.confirm) if sweeper.confirm.seeds else {},
        space=_describe_space(search, custom),
    )
    _refuse_name_of_grid(Path(composition.master.runtime.outputs), record.name)
    plan = SweepPlan(
        record=record,
        base=base,
        samples=samples,
        space=search,
        custom=custom,
        num_final_seeds=sweeper.final_seeds,
    )
    # The sampler of a grid visits all points: there is none to begin with.
    return plan if visits_all_points(sweeper.sampler) else _with_default(plan, composition)


def _refuse_luck(space: Mapping[str, str]) -> None:
    """Refuse a study that would choose by what its runs happen to be judged best.

    Args:
        space: searched key to its values, as they are written.

    Raises:
        ConfigError: for such a key, with what to write instead.
    """
    for key in LUCK_KEYS:
        if key not in space:
            continue
        reason = "a study would choose the luckiest seed"
        if key == "dataset.num_val":
            reason = "a study would choose the smallest validation set, whose scores scatter most"
        raise ConfigError(
            f"{key}={space[key]}: {reason}; give {key} one value, and train the winner on several"
            " seeds with hydra.sweeper.final_seeds=3"
        )


def _check_study_name(name: str | None) -> None:
    """Check a study's own name, which its record has too.

    Raises:
        ConfigError: for a name that cannot name a file.
    """
    if name is not None and not re.fullmatch(RECORD_NAME, name):
        raise ConfigError(f"hydra.sweeper.study_name={name}: {RECORD_NAME_RULE}")


def _refuse_name_of_grid(outputs: Path, name: str) -> None:
    """Raise AugeanError where a grid has the name of a study, whose record would replace its own.

    A study of that name is this one, asked for again.
    """
    path = record_path(outputs, name)
    if path.exists() and read_record(path).kind != "study":
        raise ConfigError(
            f"{path}: a grid has this name; give the study another one with"
            " hydra.sweeper.study_name=<a new name>"
        )


def _find_custom_space(
    composition: Composition, sweeper: AugeanSweeperConfig, search: SearchSpace
) -> CustomSpace | None:
    name = sweeper.custom_search_space
    if name is None:
        return None
    if visits_all_points(sweeper.sampler):
        raise ConfigError(
            f"hydra/sweeper/sampler=grid: cannot list the points of {KEY}={name}; choose another"
            " sampler"
        )
    packages = composition.compose(search.fixed).runtime.allowed_packages
    return find_custom_space(name, composition.master, packages, search.fixed)


def _plan_samples(
    composition: Composition,
    search: SearchSpace,
    custom: CustomSpace | None,
    *,
    with_samples: bool,
) -> list[PlannedJob]:
    """Plan the base config, then points in which a mistake of the space shows: trials are not known
    yet.

    Raises:
        ConfigError: for a mistake in them.
    """
    points = [Point(overrides=search.fixed, row="base")]
    if with_samples:
        for params in _examples(search, custom):
            sample = search.assignments(params)
            points.append(Point(overrides=(*search.fixed, *sample), row=" ".join(sample)))
    if custom is None:
        return plan_jobs(composition, points)
    # A function's values are random: one mistake of its own would have as many texts as points.
    jobs = plan_jobs(composition, points[:1])
    for point in points[1:]:
        try:
            jobs += plan_jobs(composition, [point])
        except ConfigError as error:
            raise ConfigError(f"{error}\n  in a trial that {KEY}={custom.name} extends") from error
    return jobs


def _examples(search: SearchSpace, custom: CustomSpace | None) -> list[dict[str, Any]]:
    """List points that show the space: every choice, both ends of every range."""
    points = spanning_points(search.distributions) if search.distributions else []
    return points if custom is None else custom.examples(search.distributions, points)


def _count_trials(sweeper: AugeanSweeperConfig, search: SearchSpace) -> int:
    num_trials = sweeper.n_trials or 0
    if visits_all_points(sweeper.sampler):
        return min(num_trials, len(search.points()))
    return num_trials


def _describe_timeout(sweeper: AugeanSweeperConfig) -> str | None:
    """Return a study's budget of time as it was written, with its unit; None without one."""
    if read_timeout(sweeper.timeout) == math.inf:
        return None
    text = str(sweeper.timeout)
    return f"{text}s" if text[-1].isdigit() else text


def _with_default(plan: SweepPlan, composition: Composition) -> SweepPlan:
    """Return the plan with the default configuration as trial 0, or with why there is none."""
    if plan.custom is not None:
        reason = f"{plan.custom.name} decides what is searched"
        return replace(plan, remark=f"The default configuration is not trial 0: {reason}.")
    choices = composition.choices(plan.space.fixed)
    default = find_default(plan.space, plan.config, choices)
    if default.params is None:
        return replace(plan, remark=f"The default configuration is not trial 0: {default.outside}.")
    return replace(plan, default=default.params)


def _describe_space(search: SearchSpace, custom: CustomSpace | None) -> dict[str, str]:
    """Return the space as text for people."""
    texts = dict(search.texts)
    if custom is not None:
        texts["further values"] = f"of {custom.name}"
    return texts


def refuse_without_validation(config: Config) -> None:
    """Refuse a trial whose score would be missing.

    Raises:
        ConfigError: when no images are held out.
    """
    if config.dataset.num_val == 0:
        raise ConfigError(
            "dataset.num_val=0: a study chooses by validation accuracy; hold out images in all of"
            " its trials, such as dataset.num_val=1000"
        )
