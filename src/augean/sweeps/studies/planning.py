"""Plan a study: what it searches, its base config and its record."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from hydra.core.override_parser.types import Override

from augean.config.schema import Config
from augean.config.sweeper_options import SweepOptions, check_study_options
from augean.errors import ConfigError
from augean.sweeps.budget import read_seconds
from augean.sweeps.composition import Composition, parse_search_space
from augean.sweeps.planned_jobs import SweepPlan, plan_jobs
from augean.sweeps.points import Point, check_study_name, effective, refuse_luck
from augean.sweeps.record_draft import RecordDraft
from augean.sweeps.studies.default_point import find_default
from augean.sweeps.studies.sampler import make_sampler, spanning_points, visits_all_points


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
    if not space:
        raise ConfigError(
            "hydra.sweeper.n_trials makes a study, which needs something to search: "
            "for example optimizer.lr='tag(log,interval(1e-4,1))' or activation=relu,elu"
        )
    refuse_luck(search.texts)
    check_study_name(Path(composition.master.runtime.outputs), sweeper.study_name)
    # Trials are not known yet. What is wrong with the space shows in points at its ends.
    points = [Point(overrides=search.fixed, row="base")]
    if with_samples:
        for params in spanning_points(space):
            sample = search.assignments(params)
            points.append(Point(overrides=(*search.fixed, *sample), row=" ".join(sample)))
    jobs = plan_jobs(composition, points)
    base = jobs[0]
    for job in jobs:
        refuse_without_validation(job.config)
    make_sampler(sweeper.sampler, space, 0)  # refuses what it cannot sample
    num_trials = sweeper.n_trials or 0
    if visits_all_points(sweeper.sampler):
        num_trials = min(num_trials, len(search.points()))
    timeout = None
    if read_seconds("hydra.sweeper.timeout", sweeper.timeout) < math.inf:
        timeout = str(sweeper.timeout)
        timeout += "s" if timeout[-1].isdigit() else ""
    confirm = asdict(sweeper.confirm) if sweeper.confirm.seeds else {}
    record = replace(
        draft.make(base.config, name=sweeper.study_name),
        kind="study",
        direction="minimize" if sweeper.direction == "minimize" else "maximize",
        num_trials=num_trials,
        timeout=timeout,
        confirm=confirm,
        space=dict(search.texts),
    )
    plan = SweepPlan(record=record, jobs=jobs, space=search)
    # A grid has the default configuration among its points, or it is not asked for.
    if visits_all_points(sweeper.sampler):
        return plan
    default = find_default(search, base.config, composition.choices(search.fixed))
    remark = None
    if default.params is None:
        remark = f"The default configuration is not trial 0: {default.outside}."
    return replace(plan, default=default.params, remark=remark)


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
