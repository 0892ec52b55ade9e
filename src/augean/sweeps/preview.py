"""Say what a sweep would do before its launch: configs and networks are checked, the time is
estimated.

Nothing is written and nothing is downloaded.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.errors import AugeanError, DeviceError
from augean.runs.address import find_outcome
from augean.store.run_directory import runs_dir
from augean.store.summary import RunState, RunSummary, read_summary
from augean.store.sweep_record import STATES
from augean.terminal import readable_seconds
from augean.training.build import build_model, build_optimizer
from augean.training.device import device_title, find_device
from augean.training.model_summary import describe_model
from hydra_plugins.augean_sweeper.augean_sweeper import Plan, check_jobs, plan_sweep

NUM_CLASSES = 10
"""Of the networks that are built: it changes their last layer alone, and the true number may need a
download."""
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


def preview(
    name: str, overrides: Sequence[str], outputs: Path, folder: Path | None = None
) -> list[str]:
    """Lines that say what a sweep asks for, what of it is done and how long the rest will take.

    Args:
        name: of a sweep file.
        folder: of the sweep file, if it is not one of Augean's own.

    Raises:
        AugeanError: for whatever is wrong, with the rows that it is wrong in.
    """
    plan = plan_sweep(name, [f'runtime.outputs="{outputs}"', *overrides], folder)
    record, config = plan.record, plan.jobs[0].config
    study = record.kind == "study"
    # A study's first job has nothing of its space, and is never trained.
    num_networks = check_jobs(plan.jobs[study:], check_network)
    if study:
        counts = f"{record.num_trials} trials over {', '.join(record.space)}"
    else:
        states = record.states(plan.jobs[0].address.outputs)
        counts = f"{states.total()} runs: " + ", ".join(
            f"{states[state]} {state}" for state in STATES if states[state]
        )
    return [
        f"{record.name} ({record.title}): not launched yet",
        f"  {counts}",
        (
            f"  in order: {len(plan.jobs)} configs composed and checked, {num_networks} different"
            " networks built"
        ),
        f"  {estimate(plan, config)}",
    ]


def check_network(config: Config) -> None:
    """Build network and optimizer, without memory for them.

    Raises:
        ConfigError: when they cannot be built.
    """
    describe_model(config, NUM_CLASSES)
    with torch.device("meta"):
        build_optimizer(config, build_model(config, NUM_CLASSES))


def estimate(plan: Plan, config: Config) -> str:
    """How long the runs that are not over will train, as people read it; never a guess without a
    like run.
    """
    study = plan.record.kind == "study"
    todo = {job.address.id: job for job in plan.jobs if study or not find_outcome(job.address)}
    if not todo:
        return "nothing to train"
    try:
        device = device_title(find_device(config.runtime.device))
    except DeviceError as error:
        return f"no estimate of the time: {error}"
    known = finished_runs(plan.jobs[0].address.outputs, device)
    seconds = [
        run_seconds(job.config, known[cost_key(flatten_config(job.config))])
        for job in todo.values()
    ]
    found = [number for number in seconds if number is not None]
    if not found:
        return (
            "no estimate of the time: no finished run of this model, width and data set on"
            f" {device}"
        )
    if study:
        total = max(found) * (plan.record.num_trials or 0)
        return (
            f"at most about {readable_seconds(total)} of training on {device}, less what is pruned"
        )
    rest = (
        f"; nothing to go by for {len(seconds) - len(found)} more"
        if len(found) < len(seconds)
        else ""
    )
    return (
        f"about {readable_seconds(sum(found))} of training for {len(found)} runs on {device}{rest}"
    )


def cost_key(flat: Mapping[str, Any]) -> str:
    return repr(sorted((key, value) for key, value in flat.items() if key.startswith(COST)))


def finished_runs(outputs: Path, device: str) -> "defaultdict[str, list[RunSummary]]":
    """Summaries of all finished runs of a device by what they cost."""
    found: defaultdict[str, list[RunSummary]] = defaultdict(list)
    for path in runs_dir(outputs).glob("*"):
        try:
            summary = read_summary(path)
        except AugeanError:
            continue
        if summary is None or summary.loop is not None:  # another loop has other costs
            continue
        if summary.status == RunState.FINISHED and summary.device == device:
            found[cost_key(summary.config)].append(summary)
    return found


def run_seconds(config: Config, alike: Sequence[RunSummary]) -> float | None:
    """Seconds of a run by the median cost of an image in runs alike; None where those do not
    tell.
    """
    num_images = config.dataset.num_train
    costs: list[float] = []
    for run in alike:
        if not (run.num_train and run.epochs and run.seconds):
            continue
        costs.append(run.seconds / (run.num_train * run.epochs))
        if num_images is None and run.config.get("dataset.num_train") is None:
            # Whatever is not held out is trained on.
            num_images = run.num_train + (run.num_val or 0) - config.dataset.num_val
    if num_images is None or not costs:
        return None
    return statistics.median(costs) * num_images * config.trainer.epochs
