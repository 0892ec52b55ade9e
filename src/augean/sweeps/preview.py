"""Say before its launch what a sweep would do: check its configs and networks, estimate its time.

No run and no record is written. What a run's address needs is read, or downloaded where it is not
here: the images of some data sets, and the weights of torchvision that a run begins from.
"""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from augean.analysis.freshness import FreshnessCheck
from augean.config.paths import sweep_file
from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.errors import AugeanError, DataError, DeviceError
from augean.runs.address import find_outcome
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, RunSummary, read_summary
from augean.store.sweep_record import SweepJob, SweepRecord
from augean.sweeps.budget import read_timeout
from augean.sweeps.first_check import check_jobs, check_networks
from augean.sweeps.plan import plan_for
from augean.sweeps.planned_jobs import SweepPlan
from augean.sweeps.record_changes import compare_records
from augean.terminal import counted, readable_seconds
from augean.training.build import NUM_CLASSES, build_model
from augean.training.device import device_title, find_device
from augean.training.model_summary import describe_model
from augean.training.optimizer import build_optimizer

# Beginnings of keys. Other keys, such as the optimizer's, hardly change the time of a step.
COST = (
    "model.",
    "width.",
    "dataset.name",
    "dataset.image_size",
    "dataset.arguments.",
    "trainer.precision",
    "record.",
)
"""Runs that agree in keys with these beginnings, and in their device, cost the same per image."""
MAX_ROWS = 8
"""Most rows whose names one line lists."""


def describe_changed_file(
    record: SweepRecord,
    outputs: Path,
    name: str,
    overrides: Sequence[str],
    folder: Path | None = None,
) -> list[str]:
    """Return lines that say in what a sweep file differs from the record of its last launch.

    Args:
        record: of a grid.
        outputs, name, overrides, folder: as for `plan_for`.

    Returns:
        No lines where they agree, and where the file is not there any more.

    Raises:
        AugeanError: for whatever a launch would refuse.
    """
    if sweep_file(name, folder) is None:
        return []
    try:
        plan = plan_for(outputs, name, overrides, folder)
    except DataError as error:  # no run has an address without it, but the record is right
        return [f"{record.name}: cannot be compared with its file: {error}"]
    return describe_changes(record, plan)


def describe_changes(record: SweepRecord, plan: SweepPlan) -> list[str]:
    """Return lines that say in what a plan of the same grid differs from its record.

    Raises:
        AugeanError: for a network that cannot be built, with the rows that have it.
    """
    check_jobs(plan.jobs)
    check_networks(plan.jobs, check_building)
    changes = compare_records(record, plan.record)
    if not changes.has_other_jobs:
        return []
    states = plan.record.states(plan.outputs)
    counts = [f"{states[state]} {state}" for state in RunState if states[state]]
    return [
        f"{record.name}: what it asks for, or code, data or weights of its runs, have changed"
        f" since the launch. A launch asks for {counted(states.total(), 'run')} now:"
        f" {', '.join(counts)}",
        f"  new: {_describe_jobs(changes.new)}",
        f"  no longer asked for: {_describe_jobs(changes.dropped)}",
        f"  {estimate(plan)}",
    ]


def _describe_jobs(jobs: Sequence[SweepJob]) -> str:
    """Say how many jobs there are, in which rows and with which seeds."""
    if not jobs:
        return "none"
    rows = list(dict.fromkeys(job.row for job in jobs))
    shown = "; ".join(rows[:MAX_ROWS])
    if len(rows) > MAX_ROWS:
        shown += f" and {counted(len(rows) - MAX_ROWS, 'row')} more"
    seeds = sorted({job.seed for job in jobs})
    noun = "seed" if len(seeds) == 1 else "seeds"
    return f"{counted(len(jobs), 'run')}, {noun} {', '.join(map(str, seeds))} of {shown}"


def describe_plan(plan: SweepPlan) -> list[str]:
    """Return the lines of a preview.

    Raises:
        AugeanError: for a network that cannot be built, or weights that are gone or do not fit,
            with the rows that have them.
    """
    record = plan.record
    jobs = [*plan.jobs, *plan.samples]
    check_jobs(jobs)
    num_networks = check_networks(jobs, check_building)
    if record.kind == "study":
        request = describe_study(plan)
    else:
        states = record.states(plan.outputs)
        counts = [f"{states[state]} {state}" for state in RunState if states[state]]
        request = f"{counted(states.total(), 'run')}: {', '.join(counts)}"
    lines = [
        f"{record.name} ({record.title}): not launched yet",
        f"  {request}",
        (
            f"  in order: {counted(len(jobs), 'config')} composed and checked,"
            f" {counted(num_networks, 'different network')} built"
        ),
        f"  {estimate(plan)}",
        *(f"  {line}" for line in describe_outdated(plan)),
    ]
    return [plan.notice, *lines] if plan.notice else lines


def describe_study(plan: SweepPlan) -> str:
    """Say what a study asks for: its trials, and the seeds after them."""
    record = plan.record
    limit = f" in {record.timeout} of training" if record.timeout else ""
    text = f"{counted(record.num_trials or 0, 'trial')}{limit} over {', '.join(record.space)}"
    if record.confirm:
        seeds = counted(record.confirm["seeds"], "seed")
        text += f"; then the best {record.confirm['top']} on {seeds} each"
    if plan.num_final_seeds:
        text += f"; then the winner on {counted(plan.num_final_seeds, 'seed')}"
    return text


def describe_outdated(plan: SweepPlan) -> list[str]:
    """Say which runs that are to be trained were trained before, with other code, data or
    weights to begin from.

    Trials of a study are not known before it runs.
    """
    # Config, as text, to the id that its run would have now. An older run of an equal config has
    # another id, because one of these was another.
    configs = {}
    for job in plan.jobs:
        if find_outcome(job.address) is None:
            configs[_config_text(flatten_config(job.config))] = job.address.id
    if not configs:
        return []
    check = FreshnessCheck(plan.outputs)
    # By the run that is to be trained: there may be several older ones.
    reasons: dict[str, str] = {}
    for summary in completed_runs(plan.outputs):
        id_ = configs.get(_config_text(summary.config))
        if id_ is None:
            continue
        freshness = check.check(summary)
        is_known = freshness.outdated == "yes"
        reasons[id_] = freshness.reason if is_known else "its code, data or weights have changed"
    # One line for each reason, whatever the number of runs.
    counts = Counter(reasons.values())
    return [
        f"{number} of the missing runs were trained before, but {reason} since"
        for reason, number in counts.items()
    ]


def _config_text(flat: Mapping[str, Any]) -> str:
    return json.dumps(flat, sort_keys=True, default=str)


def check_building(config: Config) -> None:
    """Build network and optimizer, without memory for them.

    Raises:
        ConfigError: when they cannot be built.
    """
    describe_model(config, NUM_CLASSES)
    with torch.device("meta"):
        build_optimizer(config, build_model(config, NUM_CLASSES))


def estimate(plan: SweepPlan) -> str:
    """Say how long the missing runs will train, by the times of finished runs of the same cost."""
    # A study trains other points than its samples, so all of these count as examples.
    todo = {job.address.id: job for job in plan.samples}
    for job in plan.jobs:
        if find_outcome(job.address) is None:
            todo[job.address.id] = job
    if not todo:
        return "nothing to train"
    try:
        device = device_title(find_device(plan.config.runtime.device))
    except DeviceError as error:
        return f"no estimate of the time: {error}"
    runs_by_cost = finished_runs(plan.outputs, device)
    estimates = []
    for job in todo.values():
        alike = runs_by_cost[cost_key(flatten_config(job.config))]
        seconds = run_seconds(job.config, alike)
        if seconds is not None:
            estimates.append(seconds)
    if not estimates:
        return (
            "no estimate of the time: no finished run of this model, width and data set on"
            f" {device}"
        )
    # A trial may cost as much as the most expensive example; pruning makes it cheaper.
    if plan.record.kind == "study":
        longest = max(estimates)
        limit = read_timeout(plan.record.timeout)
        confirm = plan.record.confirm
        num_seeds = confirm.get("top", 0) * confirm.get("seeds", 0) + plan.num_final_seeds
        # A study's time limit is one of its trials; the seeds come after it.
        seconds = min(longest * (plan.record.num_trials or 0), limit) + longest * num_seeds
        time = readable_seconds(seconds)
        return f"at most about {time} of training on {device}, less what is pruned"
    time = readable_seconds(sum(estimates))
    text = f"about {time} of training for {counted(len(estimates), 'run')} on {device}"
    num_unknown = len(todo) - len(estimates)
    if num_unknown:
        text += f"; nothing to go by for {num_unknown} more"
    return text


def cost_key(flat: Mapping[str, Any]) -> str:
    """Return a text that is equal for runs of the same cost per image."""
    parts = [(key, value) for key, value in flat.items() if key.startswith(COST)]
    return repr(sorted(parts))


def finished_runs(outputs: Path, device: str) -> "defaultdict[str, list[RunSummary]]":
    """Read the summaries of all finished runs of a device, by what they cost."""
    runs: defaultdict[str, list[RunSummary]] = defaultdict(list)
    for summary in completed_runs(outputs):
        if summary.status == RunState.FINISHED and summary.device == device:
            runs[cost_key(summary.config)].append(summary)
    return runs


def completed_runs(outputs: Path) -> Iterator[RunSummary]:
    """Yield the summaries of all runs that Augean's own loop has completed."""
    for path in runs_dir(outputs).glob("*"):
        try:
            summary = read_summary(path)
        except AugeanError:
            continue
        if summary is not None and summary.loop is None:
            yield summary


def run_seconds(config: Config, alike: Sequence[RunSummary]) -> float | None:
    """Estimate the seconds of a run by the median cost of an image in similar runs.

    Args:
        alike: runs of the same cost per image.

    Returns:
        None where they do not say how many images there are, or what one costs.
    """
    num_images = config.dataset.num_train
    costs: list[float] = []
    for run in alike:
        if not (run.num_train and run.epochs and run.seconds):
            continue
        costs.append(run.seconds / (run.num_train * run.epochs))
        if num_images is None and run.config.get("dataset.num_train") is None:
            # The whole data set is used: what is not held out for validation is trained on.
            num_images = run.num_train + (run.num_val or 0) - (config.dataset.num_val or 0)
    if num_images is None or not costs:
        return None
    return statistics.median(costs) * num_images * config.trainer.epochs
