"""The Hydra entry point: composes a config and hands it to `augean.execute`. The same as `augean train`."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from augean.config import Config, config_dir, parse, sweeps_dir
from augean.errors import AugeanError, ConfigError, Pruned, SetupError, UsageError
from augean.execute import TRIAL, Outcome, execute
from augean.messages import check, explain, pipe_closed, stems

TRUSTED = ("hydra.*", "logging.StreamHandler", "logging.Formatter", "colorlog.ColoredFormatter")
"""What Hydra itself may construct: its own settings in a config from a stranger could name any function."""


def register(sweep: str | None = None) -> None:
    """Store `augean`, which conf/config.yaml and run directories begin with: the schema and the Hydra settings.

    Args:
        sweep: name of one of Augean's own sweep files, which then needs no `-cd`; one of that name there wins.
    """
    store = ConfigStore.instance()
    if sweep in stems(sweeps_dir()):
        store.store(name=sweep, node=OmegaConf.load(sweeps_dir() / f"{sweep}.yaml"), replace=True)
    store.store(name="augean_schema", node=Config, replace=True)
    store.store(
        name="augean",
        replace=True,
        node={
            "defaults": [
                "augean_schema",
                # Hydra's own log files would lie beside the runs; a run has its train.log.
                {"override hydra/job_logging": "none"},
                {"override hydra/hydra_logging": "none"},
                {"override hydra/sweeper": "augean"},
                "_self_",
            ],
            "hydra": {
                "output_subdir": None,
                "run": {"dir": "${runtime.outputs}/.hydra"},
                "sweep": {"dir": "${runtime.outputs}/.hydra", "subdir": "."},
            },
        },
    )


def compose(overrides: Sequence[str] = (), name: str = "config", folder: Path | None = None) -> Config:
    """A checked config, composed outside a command line.

    Raises:
        AugeanError: for whatever is wrong with the overrides.
    """
    register()
    try:
        with hydra.initialize_config_dir(str(folder or config_dir())):
            return parse(hydra.compose(name, list(overrides)))
    except (HydraException, OmegaConfBaseException, ValueError, TypeError, AssertionError, yaml.YAMLError) as error:
        raise ConfigError(explain(error, overrides) or f"{overrides}: cannot be composed") from error


def report_outcome(outcome: Outcome) -> None:
    """Say where the run is and how it scored."""
    summary, title = outcome.summary, "already finished, not trained again" if outcome.skipped else "finished"
    if summary["status"] == "diverged":
        what = summary["diverged"]
        step = f", step {what['step']}" if what["step"] else ""  # none where only the test loss showed it
        title = f"diverged in epoch {what['epoch']}{step}" + (" (earlier)" if outcome.skipped else "")
    print(f"Run {outcome.address.id} {title}: {outcome.address.path}")
    if summary["status"] == "finished":
        val = f"validation {summary['val_accuracy']:.2%}, " if summary["val_accuracy"] is not None else ""
        print(
            f"  {val}test {summary['test_accuracy']:.2%} with the weights of epoch {summary['selected_epoch']}; "
            f"{summary['seconds']:.1f} s, {summary['images_per_second']:,.0f} images/s"
        )


def task(raw: DictConfig) -> float:
    """What Hydra runs: a single command, or a sweep's job that a launcher has brought elsewhere."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(parse(raw))
    try:
        config = parse(raw)
        if config.runtime.launcher.name != "local":
            raise ConfigError(f"launcher={config.runtime.launcher.name}: is for sweeps; -m makes one of a single run")
        outcome = execute(config)
    except AugeanError as error:
        print(explain(error, sys.argv[1:]), file=sys.stderr)
        raise SystemExit(1) from error
    report_outcome(outcome)
    return outcome.objective


def run_job(config: Config, begin: Callable[[], None] | None = None) -> float:
    """One job of a sweep: returns the validation accuracy, which is all that a sweeper sees.

    Args:
        begin: as for `augean.execute.execute`.
    """
    reporter = None
    if TRIAL in os.environ:
        from augean.study import Reporter

        reporter = Reporter.from_environment()
    try:
        # In a grid a run that another worker trains is left to it for now: there is other work. A trial has to wait.
        should_stop = reporter.should_stop if reporter else None
        outcome = execute(config, wait=reporter is not None, should_stop=should_stop, begin=begin)
    except Exception as error:
        if reporter is not None and isinstance(error, Pruned):
            reporter.tell_pruned()
            print(error)
            return 0.0
        if reporter is not None and not isinstance(error, SetupError):  # which says nothing of the trial
            reporter.tell_failed(error)
        raise
    if reporter is not None:
        reporter.tell(outcome.objective)
    report_outcome(outcome)
    return outcome.objective


def main() -> None:
    """Run the command line `sys.argv`.

    Raises:
        SystemExit: with a message, and status 1, for a mistake of the user; with 2 for one in the options.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands exceptions on instead of printing them
    try:
        register(check(sys.argv[1:]).config_name)
        hydra.main(str(config_dir()), "config", execution_whitelist=TRUSTED)(task)()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        pipe_closed()
    except UsageError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    except Exception as error:
        text = explain(error, sys.argv[1:])
        if text is None or (_in_task(error) and not isinstance(error, AugeanError)):
            raise
        raise SystemExit(text) from None
    finally:
        sys.stdout.flush()


def _in_task(error: BaseException) -> bool:
    """Whether an exception comes out of a run, where it is a fault of the program and wants its traceback."""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code is task.__code__:
            return True
        traceback = traceback.tb_next
    return False
