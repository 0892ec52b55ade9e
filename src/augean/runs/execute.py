"""Execute one run: skip it if it is finished, else train it, and account for a failure.

Imports no torch until a run is known to be needed.
"""

import gc
import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from augean.config.instantiate import refusing_exit
from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.runs.address import RunAddress, RunOutcome, build_source, fill_open_values, find_address
from augean.runs.config_file import config_yaml
from augean.runs.prefixes import find_prefixes
from augean.runs.session import claim_run, noting_failure, open_session
from augean.runs.weights import check_weights_are_here, find_weights
from augean.store.summary import RunSummary
from augean.system_errors import explaining_system_errors

if TYPE_CHECKING:
    from augean.training.trainer import ShouldStop

logger = logging.getLogger(__name__)


def execute(
    config: Config,
    *,
    wait: bool = True,
    should_stop: "ShouldStop | None" = None,
    on_start: Callable[[], None] | None = None,
) -> RunOutcome:
    """Complete a run: return its result if there is one, else train it, or resume its training.

    Args:
        wait: whether to wait for another process that trains the same run; without it, such a
            process is an error.
        should_stop: asked after each epoch whether the run is to be pruned; None never prunes.
        on_start: called once this process holds the run's lock and is about to train it.

    Raises:
        AugeanError: for whatever the user can mend, RunLocked included; Pruned when `should_stop`
            returned true.
        SystemExit: 128 + signal number after a stop signal, with the run's checkpoint written.
    """
    # Filled in here already, as the run's config.yaml and summary must hold the values themselves.
    config = fill_open_values(config)
    address = find_address(config)
    with claim_run(address, wait=wait) as outcome:
        if outcome is not None:
            return outcome
        if on_start is not None:
            on_start()
        try:
            with noting_failure(address.path), refusing_exit():
                summary = _train(config, address, should_stop)
        except Exception as error:
            _release_frames(error)
            raise
        return RunOutcome(address=address, summary=summary, skipped=False)


@explaining_system_errors()
def _train(config: Config, address: RunAddress, should_stop: "ShouldStop | None") -> RunSummary:
    """Train a claimed run and write its summary."""
    # Imported here, as both load torch, which a skipped run does without.
    from augean.training.device import algorithms
    from augean.training.trainer import Trainer

    text = config_yaml(config)
    source = build_source(config)
    weights = find_weights(config, source)
    if weights is not None:
        check_weights_are_here(weights, config)
    with algorithms(config.trainer.deterministic):
        # The trainer comes first: a config that it refuses must leave no run directory behind.
        trainer = Trainer(
            config,
            source,
            address.path,
            address.id,
            prefixes=find_prefixes(config, address, source, weights),
            weights=weights,
        )
        with open_session(address, config.runtime, flatten_config(config), text) as session:
            return session.complete(trainer.train(session.stop, session.loggers, should_stop))


def _release_frames(error: BaseException | None) -> None:
    """Free the memory that an exception holds: its traceback keeps the local variables of `_train`.

    Network, optimizer and images are among them, and the next job of a sweep needs their memory.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        # The exception that this one was raised from has frames of its own.
        error = error.__cause__ or error.__context__
    # Objects that refer to each other, as those of a network do, are only freed by the collector.
    gc.collect()


def log_outcome(outcome: RunOutcome) -> None:
    """Log where the run is and how it scored."""
    summary = outcome.summary
    logger.info(f"Run {outcome.address.id} {_describe_end(outcome)}: {outcome.address.path}")
    # A diverged run was not tested.
    if summary.diverged is not None:
        return
    scores = []
    if summary.val_accuracy is not None:
        scores.append(f"validation {summary.val_accuracy:.2%}")
    if summary.test_accuracy is not None:
        scores.append(f"test {summary.test_accuracy:.2%}")
    logger.info(
        f"  {', '.join(scores)} with the weights of epoch {summary.selected_epoch};"
        f" {summary.seconds or 0:.1f} s, {summary.images_per_second or 0:,.0f} images/s"
    )


def _describe_end(outcome: RunOutcome) -> str:
    """Return how the run ended, such as `finished` or `diverged in epoch 3, step 17`."""
    diverged = outcome.summary.diverged
    if diverged is None:
        return "already finished, not trained again" if outcome.skipped else "finished"
    text = f"diverged in epoch {diverged.epoch}"
    if diverged.step:  # None where the validation or test loss diverged, after the steps
        text += f", step {diverged.step}"
    if outcome.skipped:
        text += " (earlier)"
    return text
