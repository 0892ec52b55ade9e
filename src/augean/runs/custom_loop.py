"""Any training loop as a run of Augean: its address, the skip, the resume and the report.

    with augean.run({"name": "logistic", "lr": 0.1, "seed": 0}, table="Learning rates", row="0.1") as run:
        for epoch in run.epochs(20):                     # those that are still to do
            run.log(train_loss=..., val_accuracy=...)    # a line of metrics.csv
            run.save(state)                              # what run.load() gives after an interruption
        run.finish(test_accuracy=...)                    # a line of the table

The run's address is made of the config and of the code: that of the calling file and of the files
that it imports from its own folder. So the results of another loop, or of the same loop before an
edit, are never taken for those of this one.
"""  # noqa: E501

import logging
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from augean.config.labels import given_label
from augean.config.run_id import SCHEMA, code_digests, plain_value, short_hash
from augean.config.schema import Config, RuntimeConfig
from augean.config.validation import flatten_config, parse_config
from augean.config.yaml_files import flatten
from augean.datasets.image_decoding import MAIN_GUARD
from augean.errors import AugeanError, ConfigError
from augean.runs.address import RunAddress, build_source, fill_open_values, find_address
from augean.runs.config_file import config_values, to_yaml
from augean.runs.custom_run import CustomRun, Diverged, RunOrigin, plain_numbers
from augean.runs.loop_code import LoopCode, read_loop
from augean.runs.loop_record import add_to_record, command_of_loop
from augean.runs.session import claim_run, noting_failure, open_session
from augean.store.run_directory import place_from, runs_dir
from augean.store.sweep_record import SweepJob
from augean.terminal import show_messages

logger = logging.getLogger(__name__)

LONGEST_NAME = 64
"""Most characters of the first part of a directory's name."""
OTHER_NODES: Mapping[str, Any] = {
    "model": {"name": "loop", "_target_": "torch.nn.Module"},
    "activation": {"name": "loop", "_target_": "torch.nn.Module"},
    "optimizer": {"name": "loop", "_target_": "torch.optim.Optimizer", "lr": 1.0},
    "width": {"channels": 1},
    "schedule": {"name": "constant"},
    "dataset": {"name": "loop", "_target_": "augean.data.Source"},
}
"""Valid values for the keys without a default: `runtime` is checked as a part of a whole config."""


@dataclass(frozen=True)
class _Description:
    """What the config of a custom loop says of its run."""

    address: RunAddress
    runtime: RuntimeConfig
    values: Mapping[str, Any]
    """The config as config.yaml holds it."""
    flat: Mapping[str, Any]
    """The config with dotted keys, as the report shows it."""
    name: str
    """First part of the directory's name; also the row's label where none is given."""
    seed: int
    code_digests: Mapping[str, str]
    """Digests of the files of the user's own classes and of `code_files`, by path; see
    `augean.config.run_id.code_digests`."""
    data_digest: str | None
    """None where the config names no data set."""


def run(
    config: Config | Mapping[str, Any] | Any,
    *,
    name: str | None = None,
    table: str | None = None,
    row: str | None = None,
    baseline: str | None = None,
    wait: bool = True,
    **runtime: Any,
) -> AbstractContextManager[CustomRun]:
    """Return a run whose training is the body of a `with` statement.

    Args:
        config: the part of the address that the caller chooses: a composed config
            (`augean.config.compose.compose`), or a mapping or dataclass of plain values, in which
            `seed` is the seed. A mapping should name the version of the data too, as Augean does
            not see which data a custom loop reads.
        name: first part of the directory's name where the config is a mapping; None: its `name`, or
            that of the file.
        table: title of the table in the report that the run belongs to.
        row: its row there; None: the name.
        baseline: the row that the others are compared with.
        wait: whether to wait for another process that trains the same run; without it, such a
            process is an error.
        runtime: keys of `augean.config.schema.RuntimeConfig`, such as `outputs`,
            `checkpoint_seconds` or `loggers`.

    Raises:
        ConfigError: when the config or a keyword cannot be used, or the calling code has no file or
            has changed since this process loaded it.
        RunLocked: on entering the block, without `wait`.
        AugeanError: on leaving the block without `finish`.
        SystemExit: 128 + signal number, on leaving the block after a stop signal.
    """
    show_messages()
    _refuse_import_by_child()
    # The frame above this one runs the file that calls `augean.run`.
    loop = read_loop(sys._getframe(1))
    if isinstance(config, Config):
        # The keywords replace what the composed config says of `runtime`.
        config = replace(config, runtime=_check_runtime(config.runtime, runtime))
        # Outside the block: it reads the data, whose errors are no mistake in the config.
        description = _describe_config(config, loop.code.digest)
    else:
        checked_runtime = _check_runtime(RuntimeConfig(), runtime)
        try:
            values = _values_of(config)
            name = str(name or values.get("name") or loop.file.stem)
            description = _describe_values(values, name, loop.code.digest, checked_runtime)
        # A value that has no JSON form, such as NaN or a tensor.
        except (TypeError, ValueError) as error:
            raise ConfigError(f"augean.run: plain finite values only: {error}") from error
    # The table names the run before it is trained, so that a report can count what is missing.
    if table is not None:
        # Empty text would be a row without a label.
        label = "" if row is None else given_label(row)
        job = SweepJob(
            id=description.address.id,
            run=description.address.path.name,
            row=label or description.name,
            seed=description.seed,
            command=command_of_loop(),
        )
        outputs = description.address.outputs
        add_to_record(outputs, table, job, baseline=baseline, loop=loop)
    custom_run = _make_run(loop, description)
    return _running(custom_run, _config_text(loop, description), description.address.path, wait)


def _refuse_import_by_child() -> None:
    """Refuse a script that a process which it has started imports, as spawned processes do.

    The child would wait for the run that its parent trains, and the parent for the child.
    """
    # Set while a child prepares itself; Python's own check of the same mistake reads it.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigError(
            "augean.run: a process that the script has started imports it and begins the run again;"
            f" put the script's work below {MAIN_GUARD}"
        )


def _check_runtime(runtime: RuntimeConfig, keywords: Mapping[str, Any]) -> RuntimeConfig:
    """Return `runtime` with other values, checked as those of a composed config.

    Raises:
        ConfigError: for unknown keys and values that they cannot have.
    """
    values = {**OTHER_NODES, "runtime": {**asdict(runtime), **keywords}}
    try:
        return parse_config(values).runtime
    except ConfigError as error:
        raise ConfigError(f"augean.run: {error}") from error


def _values_of(config: Any) -> dict[str, Any]:
    """Return the values of a config that was not composed.

    Raises:
        TypeError: for an object that is neither a mapping nor a dataclass.
    """
    if isinstance(config, Mapping):
        values = dict(config)
    elif is_dataclass(config) and not isinstance(config, type):
        values = asdict(config)
    else:
        # Such as an argparse.Namespace.
        hint = "; give vars(...) of it" if hasattr(config, "__dict__") else ""
        kind = type(config).__name__
        raise TypeError(f"a {kind} is neither a mapping nor a dataclass{hint}")
    plain: dict[str, Any] = plain_numbers(values)
    return plain


def _make_run(loop: LoopCode, description: _Description) -> CustomRun:
    origin = RunOrigin(
        loop=loop.file.name,
        loop_digest=loop.code.digest,
        code_digests={**description.code_digests, **loop.code.files},
        data_digest=description.data_digest,
        places={"loop": place_from(description.address.outputs, loop.root)},
    )
    # Absolute, so that a loop that changes the current folder writes on where it has begun.
    address = description.address
    absolute = replace(
        address,
        outputs=Path(os.path.abspath(address.outputs)),
        path=Path(os.path.abspath(address.path)),
    )
    return CustomRun(absolute, description.flat, description.runtime, origin)


def _config_text(loop: LoopCode, description: _Description) -> str:
    """Return the content of config.yaml."""
    return f"# Trained by {loop.file.name}\n{to_yaml(description.values)}"


def _describe_config(config: Config, loop_digest: str) -> _Description:
    """Describe a run by a composed config. Its address is made as for Augean's own training."""
    config = fill_open_values(config)
    return _Description(
        address=find_address(config, loop_digest),
        runtime=config.runtime,
        values=config_values(config),
        flat=flatten_config(config),
        name=config.model.name,
        seed=config.seed,
        code_digests=code_digests(config),
        data_digest=build_source(config).digest(),
    )


def _describe_values(
    values: Mapping[str, Any], name: str, loop_digest: str, runtime: RuntimeConfig
) -> _Description:
    """Describe a run by plain values, of which Augean knows no schema.

    Raises:
        ConfigError: for a seed that is not a whole number.
        TypeError, ValueError: for values that have no JSON form, such as NaN.
    """
    # Other characters could lead out of the runs' folder, or not be allowed in a file's name.
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST_NAME]
    # The report and `pack` skip hidden folders, and `pack` those that look like an option.
    if name.startswith((".", "-")):
        name = f"_{name[1:]}"
    seed = _read_seed(values.get("seed", 0))
    # config.yaml and the report show whole numbers as they were given. For the id all numbers are
    # floats, as there is no schema that says which of 1 and 1.0 is meant.
    plain = plain_value(dict(values), floats=False)
    hashed_content = {
        "schema": SCHEMA,
        "loop": loop_digest,
        "name": name,
        "config": plain_value(dict(values), floats=True),
    }
    run_id = short_hash(hashed_content)
    outputs = Path(runtime.outputs)
    path = runs_dir(outputs) / f"{name}-s{seed}-{run_id}"
    return _Description(
        address=RunAddress(outputs=outputs, id=run_id, path=path),
        runtime=runtime,
        values=plain,
        flat=flatten(plain),
        name=name,
        seed=seed,
        code_digests={},
        data_digest=None,
    )


def _read_seed(seed: Any) -> int:
    """Return a seed; refuse one that is not a whole number: two would be one row of the table."""
    with suppress(TypeError, ValueError, OverflowError):
        number = int(seed)
        if isinstance(seed, str) or number == seed:
            return number
    raise ConfigError(f"augean.run: seed={seed}: must be a whole number")


@contextmanager
def _running(run: CustomRun, config_text: str, shown_path: Path, wait: bool) -> Iterator[CustomRun]:
    """Claim the run, hand it to the user's `with` block, and judge how the block ended.

    Args:
        shown_path: the run's directory in messages, which the user may have named from the current
            folder.

    Raises:
        AugeanError: when the block ends without `finish`.
    """
    address = run.address
    with claim_run(address, wait=wait) as outcome:
        if outcome is not None:
            logger.info(f"Run {address.id} is completed, not trained again: {shown_path}")
            # With a summary the run yields no epochs and ignores what the block gives it. The
            # block itself runs: a context manager cannot skip it.
            run.summary = outcome.summary
            yield run
            return
        session_block = open_session(address, run.runtime, run.config, config_text)
        with noting_failure(address.path), session_block as session:
            run.session = session
            run.resume()
            try:
                yield run
            # Raised by `run.log`, which has written the summary already. Divergence is a result, so
            # the script goes on after the block.
            except Diverged:
                logger.info(f"Run {address.id} diverged in epoch {len(run.rows) + 1}: {shown_path}")
            # Errors of the loop; also a second Ctrl-C or the end of the grace time within an epoch.
            except BaseException:
                _write_last_save(run)
                raise
            else:
                if not run.finished:
                    raise AugeanError(
                        f"run {address.id} ended without run.finish(test_accuracy=...)"
                    )
                logger.info(f"Run {address.id} finished: {shown_path}")


def _write_last_save(run: CustomRun) -> None:
    """Write the state of the last `save` of a run whose block is left by an error."""
    if run.finished:
        return
    try:
        run.write_checkpoint()
    # The error that the block is left by must not be hidden.
    except Exception as error:
        logger.warning(
            f"Run {run.address.id}: the state of its last save cannot be written: {error}"
        )
