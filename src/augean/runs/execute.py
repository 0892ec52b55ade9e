"""Execute one run: skip it if it is finished, else train it, and account for a failure.

Imports no torch until a run is known to be needed.
"""

import gc
import logging
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from augean.config.schema import Config
from augean.config.validation import flatten_config
from augean.runs.address import RunAddress, RunOutcome, build_source, find_address, with_open_values
from augean.runs.config_file import config_yaml
from augean.runs.prefixes import find_prefixes
from augean.runs.session import claim_run, noting_failure, open_session
from augean.runs.weights import find_weights
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
    begin: Callable[[], None] | None = None,
) -> RunOutcome:
    """Make sure that a run is over: at once if it is already, else by training or resuming it.

    Args:
        wait: for another process that trains the same run; otherwise that is an error.
        begin: called when it is known that this process, and no other, trains the run.

    Raises:
        AugeanError: for whatever the user can mend, RunLocked included; Pruned when `should_stop`
            said so.
        SystemExit: 128 + signal number after a stop signal, with the run's checkpoint written.
    """
    config = with_open_values(config)
    address = find_address(config)
    with claim_run(address, wait=wait) as outcome:
        if outcome is not None:
            return outcome
        if begin is not None:
            begin()
        try:
            with noting_failure(address.path):
                summary = _train(config, address, should_stop)
        except Exception as error:
            _release_frames(error)
            raise
        return RunOutcome(address, summary, skipped=False)


@explaining_system_errors()
def _train(config: Config, address: RunAddress, should_stop: "ShouldStop | None") -> RunSummary:
    from augean.training.device import algorithms
    from augean.training.trainer import Trainer

    text = config_yaml(config)
    with algorithms(config.trainer.deterministic):
        trainer = Trainer(
            config,
            build_source(config),
            address.path,
            address.id,
            prefixes=find_prefixes(config, address),
            weights=find_weights(config),
        )
        with open_session(address, config.runtime, flatten_config(config), text) as session:
            return session.complete(trainer.train(session.stop, session.loggers, should_stop))


def _release_frames(error: BaseException | None) -> None:
    """Free the memory that an exception holds by the frames it came through.

    The next job of a sweep needs it.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()


def log_outcome(outcome: RunOutcome) -> None:
    """Say where the run is and how it scored."""
    summary = outcome.summary
    logger.info(f"Run {outcome.address.id} {_describe_end(outcome)}: {outcome.address.path}")
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
    diverged = outcome.summary.diverged
    if diverged is None:
        return "already finished, not trained again" if outcome.skipped else "finished"
    text = f"diverged in epoch {diverged.epoch}"
    if diverged.step:
        text += f", step {diverged.step}"
    if outcome.skipped:
        text += " (earlier)"
    return text
