"""Refuse before a sweep's first run what its runs would fail at: classes, optimizers, weights.

It loads torch, so a sweep with nothing to train does without it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch

from augean.config.instantiate import refusing_exit
from augean.config.schema import Config
from augean.errors import AugeanError, ConfigError
from augean.models.pretrained import choose_weights, read_state
from augean.runs.address import build_source, find_outcome
from augean.runs.weights import check_weights_are_here, find_weights
from augean.store.weights_file import check_content
from augean.sweeps.planned_jobs import PlannedJob
from augean.training.build import NUM_CLASSES, build_model, check_classes, network_key

_checked: set[str] = set()
"""Weights, with the networks that they are for, that this process has found to fit."""


def check_jobs(jobs: Iterable[PlannedJob]) -> None:
    """Check networks, optimizers and weights of all jobs that still have to be trained.

    Raises:
        ConfigError: for all that is wrong, each with its rows.
    """
    missing = [job for job in jobs if find_outcome(job.address) is None]
    check_networks(missing, check_classes)
    check_networks(missing, check_weights)


def check_samples(jobs: Iterable[PlannedJob]) -> None:
    """Check jobs that stand for the space of a study, until one is in order.

    A choice that is refused costs the study one trial; a mistake in all of them would cost it all.

    Raises:
        ConfigError: for what is wrong with the first, where all are refused.
    """
    first_error = None
    for job in jobs:
        try:
            check_jobs([job])
            return
        except AugeanError as error:
            first_error = first_error or error
    if first_error is not None:
        raise first_error


def check_networks(jobs: Iterable[PlannedJob], check: Callable[[Config], None]) -> int:
    """Check each different network, with its optimizer, of the jobs; return how many there are.

    Raises:
        ConfigError: for all that the check refuses, each with its rows.
    """
    # Network to what is wrong with it; None for one that is in order.
    problems: dict[str, str | None] = {}
    # Problem to its rows, each once and in order: a dictionary serves as an ordered set.
    rows: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for job in jobs:
        network = network_key(job.config)
        if network not in problems:
            try:
                with refusing_exit():
                    check(job.config)
                problems[network] = None
            except AugeanError as error:
                problems[network] = str(error)
        problem = problems[network]
        if problem is not None:
            rows[problem][job.row] = None
    if rows:
        paragraphs = [f"{problem}\n  in {'; '.join(labels)}" for problem, labels in rows.items()]
        raise ConfigError("\n".join(paragraphs))
    return len(problems)


def check_weights(config: Config) -> None:
    """Refuse weights that are gone, were altered, or do not fit the network by their names.

    Raises:
        ConfigError: as the run itself would.
    """
    weights = find_weights(config, build_source(config))
    if weights is None:
        return
    check_weights_are_here(weights, config)
    parts = (weights, config.model, config.activation, config.width, config.regularization.dropout)
    # A file of weights may be large, and the runs of a sweep share few.
    key = repr(parts)
    if key in _checked:
        return
    try:
        with torch.device("meta"):
            network = build_model(config, NUM_CLASSES)
    except AugeanError:
        return  # the run will say what is wrong, with the true number of classes
    check_content(weights)
    # The names do not matter here: only the last layer depends on them.
    classes = [str(label) for label in range(NUM_CLASSES)]
    other_classes = weights.classes if weights.has_new_head else ()
    try:
        choose_weights(network, read_state(weights.path), classes, other_classes)
    except ValueError as error:
        raise ConfigError(f"model.weights={weights.name}: {error}") from error
    _checked.add(key)
