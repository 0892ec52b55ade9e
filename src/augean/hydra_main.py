"""Start Hydra, which composes a config, and hand the config to `augean.runs.execute`.

`augean train` and `python train.py` both come here.
"""

import contextlib
import os
import sys
from argparse import Namespace
from contextlib import AbstractContextManager

import hydra
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from augean.config.command_line import check_command_line
from augean.config.compose import register
from augean.config.override_errors import explain_error
from augean.config.paths import config_dir
from augean.config.sweeper_options import check_sweeper
from augean.config.validation import parse_config
from augean.errors import AugeanError, ConfigError, UsageError
from augean.passwords import hide_passwords
from augean.runs.code_snapshot import use_snapshot
from augean.runs.execute import execute, log_outcome
from augean.signals import exit_after_interrupt
from augean.terminal import guarded_streams, show_messages

TRUSTED = ("hydra.*", "logging.StreamHandler", "logging.Formatter", "colorlog.ColoredFormatter")
"""What Hydra itself may construct. Without this list Hydra's settings in a config from a stranger
could name any function."""


def task(raw: DictConfig) -> float:
    """Train a single run, or a job of a sweep in the process of a launcher."""
    show_messages()  # a launcher's process does not start with `main`
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        from augean.sweeps.job import run_job

        # A sweep file may choose a sweeper of Hydra's, which writes no sweep record.
        check_sweeper(hydra_config.runtime.choices["hydra/sweeper"])
        with _start_folder(hydra_config):
            return run_job(parse_config(raw))
    # Hydra prints "Error executing job with overrides" above the message of an exception that
    # leaves this function.
    try:
        config = parse_config(raw)
        if config.runtime.launcher.name != "local":
            raise ConfigError(
                f"launcher={config.runtime.launcher.name}: is for sweeps; -m makes one of a"
                " single run"
            )
        with _start_folder(hydra_config):
            outcome = execute(config)
    except AugeanError as error:
        message = explain_error(error, sys.argv[1:]) or str(error)
        print(hide_passwords(message, sys.argv[1:]), file=sys.stderr)
        raise SystemExit(1) from error
    log_outcome(outcome)
    return outcome.objective


def _start_folder(hydra_config: HydraConf) -> AbstractContextManager[None]:
    """Return a context in the folder where the command was started.

    With `hydra.job.chdir` Hydra has left it by now; relative paths of the config start there.
    """
    # Only then: a job of Ray may run on a machine that has no such folder.
    if not hydra_config.job.chdir:
        return contextlib.nullcontext()
    return contextlib.chdir(hydra_config.runtime.cwd)


def main() -> None:
    """Run the command line `sys.argv`.

    Raises:
        SystemExit: with a message, and status 1, for a mistake of the user; with 2 for one in the
            options.
    """
    use_snapshot()
    # Hydra then raises exceptions instead of printing them and ending the process.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    with guarded_streams(), exit_after_interrupt():
        _main()


def _main() -> None:
    """Run the command line, and turn exceptions into messages and exit codes."""
    try:
        options = check_command_line(sys.argv[1:])
        register(options.config_name)
        if _may_be_sweep(options):
            from augean.sweeps.hydra_plugin import register_sweeper

            register_sweeper()
        hydra.main(str(config_dir()), "config", execution_whitelist=TRUSTED)(task)()
    except UsageError as error:
        print(hide_passwords(str(error), sys.argv[1:]), file=sys.stderr)
        raise SystemExit(2) from None
    except Exception as error:
        text = explain_error(error, sys.argv[1:])
        # Inside a run only an AugeanError is a mistake of the user.
        is_program_fault = _in_task(error) and not isinstance(error, AugeanError)
        if text is None or is_program_fault:
            raise
        raise SystemExit(hide_passwords(text, sys.argv[1:])) from None


def _may_be_sweep(options: Namespace) -> bool:
    """Return whether this may be a sweep: then Hydra needs the sweeper, which takes time to import.

    Hydra takes its mode from the options, from the sweep file or from `hydra.mode=MULTIRUN`.
    """
    names_file = options.config_name not in (None, "config")
    sets_mode = any(word.lstrip("+").startswith("hydra.mode") for word in options.overrides)
    return options.multirun or names_file or sets_mode


def _in_task(error: BaseException) -> bool:
    """Return whether an exception was raised inside `task`, and not while Hydra composed."""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code is task.__code__:
            return True
        traceback = traceback.tb_next
    return False
