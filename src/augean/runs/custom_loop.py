"""Any training loop as a run of Augean: its address, the skip, the resume and the report.

    with augean.run({"name": "logistic", "lr": 0.1, "seed": 0}, table="Learning rates", row="0.1") as run:
        for epoch in run.epochs(20):                     # those that are still to do
            run.log(train_loss=..., val_accuracy=...)    # a line of metrics.csv
            run.save(state)                              # what run.load() gives after an interruption
        run.finish(test_accuracy=...)                    # a line of the table

The run's address holds the config and the code of the calling file with all that it imports from
beside it: results of another loop, or of the same loop before an edit, are never taken for this
one's.
"""  # noqa: E501

import logging
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from augean.config.code_digest import file_code
from augean.config.labels import given_label
from augean.config.run_id import SCHEMA, code_digests, plain_value, short_hash
from augean.config.schema import Config, RuntimeConfig
from augean.config.validation import flatten_config
from augean.errors import AugeanError, ConfigError
from augean.passwords import without_passwords
from augean.runs.address import RunAddress, build_source, find_address, with_open_values
from augean.runs.config_file import config_values, to_yaml
from augean.runs.custom_run import CustomRun, Diverged, RunOrigin
from augean.runs.session import claim_run, noting_failure, open_session
from augean.store.run_directory import place_from, runs_dir
from augean.store.sweep_record import SweepJob, SweepRecord, hold_record, read_record
from augean.terminal import show_messages
from augean.training.provenance import timestamp

logger = logging.getLogger(__name__)

LONGEST_NAME = 64
"""Characters of the first part of a directory's name."""


@dataclass(frozen=True)
class _Description:
    """What the config of a custom loop says of its run."""

    address: RunAddress
    values: Mapping[str, Any]
    """The config as config.yaml holds it."""
    flat: Mapping[str, Any]
    """The config with dotted keys, as the report shows it."""
    name: str
    seed: int
    code_digests: Mapping[str, str]
    """Of the classes that a composed config names; see `augean.config.run_id.code_digests`."""
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
        config: what the address is made of: a composed config (`augean.config.compose.compose`), or
            a mapping or dataclass of plain values, in which `seed` is the seed. Of data it knows
            what it says: name the version there.
        name: first part of the directory's name where the config is a mapping; None: its `name`, or
            that of the file.
        table: title of the table in the report that the run belongs to.
        row: its row there; None: the name.
        baseline: the row that the others are compared with.
        wait: for another process that trains the same run; otherwise that is an error.
        runtime: keys of `augean.config.schema.RuntimeConfig`, such as `outputs`,
            `checkpoint_seconds` or `loggers`.

    Raises:
        ConfigError: when the config or a keyword cannot be used, or the calling code has no file.
        RunLocked: on entering the block, without `wait`.
        AugeanError: on leaving the block without `finish`.
        SystemExit: 128 + signal number, on leaving the block after a stop signal.
    """
    show_messages()
    caller = sys._getframe(1)
    loop = Path(caller.f_code.co_filename)
    if not loop.is_file():
        raise ConfigError(
            "augean.run: a prompt or notebook has no file whose code could be part of the run's"
            " address"
        )
    package = str(caller.f_globals.get("__package__") or "")
    depth = len(package.split(".")) if package else 0
    root = loop.parents[depth]
    code = file_code(loop, root)
    try:
        if isinstance(config, Config):
            node = replace(config.runtime, **runtime)
            description = _describe_config(replace(config, runtime=node), code.digest)
        else:
            node = RuntimeConfig(**runtime)
            values = dict(config) if isinstance(config, Mapping) else asdict(config)
            name = str(name or values.get("name") or loop.stem)
            description = _describe_values(values, name, code.digest, Path(node.outputs))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"augean.run: plain finite values and keys of `runtime` only: {error}"
        ) from error
    address = description.address
    if table is not None:
        label = description.name if row is None else given_label(row)
        _note_in_record(address, table, baseline, label or description.name, description.seed)
    text = f"# Trained by {loop.name}\n{to_yaml(description.values)}"
    origin = RunOrigin(
        loop=loop.name,
        loop_digest=code.digest,
        code_digests={**description.code_digests, **code.files},
        data_digest=description.data_digest,
        places={"loop": place_from(address.outputs, root)},
    )
    custom_run = CustomRun(address, description.flat, node, origin)
    return _running(custom_run, text, wait)


def _describe_config(config: Config, digest: str) -> _Description:
    config = with_open_values(config)
    return _Description(
        address=find_address(config, digest),
        values=config_values(config),
        flat=flatten_config(config),
        name=config.model.name,
        seed=config.seed,
        code_digests=code_digests(config),
        data_digest=build_source(config).digest(),
    )


def _describe_values(
    values: Mapping[str, Any], name: str, digest: str, outputs: Path
) -> _Description:
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST_NAME]
    seed = int(values.get("seed", 0))
    plain = plain_value(dict(values), floats=False)
    identity = {
        "schema": SCHEMA,
        "loop": digest,
        "name": name,
        "config": plain_value(dict(values), floats=True),
    }
    run_id = short_hash(identity)
    path = runs_dir(outputs) / f"{name}-s{seed}-{run_id}"
    return _Description(
        address=RunAddress(outputs, run_id, path),
        values=plain,
        flat=dict(_flatten(plain)),
        name=name,
        seed=seed,
        code_digests={},
        data_digest=None,
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@contextmanager
def _running(run: CustomRun, config_text: str, wait: bool) -> Iterator[CustomRun]:
    address = run.address
    with claim_run(address, wait=wait) as outcome:
        if outcome is not None:
            logger.info(f"Run {address.id} is over, not trained again: {address.path}")
            run.summary = outcome.summary
            yield run
            return
        session_block = open_session(address, run.runtime, run.config, config_text)
        with noting_failure(address.path), session_block as session:
            run.session = session
            run.resume()
            try:
                yield run
            except Diverged:
                logger.info(
                    f"Run {address.id} diverged in epoch {len(run.rows) + 1}: {address.path}"
                )
            else:
                if not run.finished:
                    raise AugeanError(
                        f"run {address.id} ended without run.finish(test_accuracy=...)"
                    )
                logger.info(f"Run {address.id} finished: {address.path}")


def _note_in_record(
    address: RunAddress, table: str, baseline: str | None, row: str, seed: int
) -> None:
    """Add a run to the record of its table, in place of an older one of the same row and seed."""
    name = re.sub(r"[^A-Za-z0-9.+-]+", "_", table)
    path = address.outputs / "sweeps" / f"{name}.json"
    with hold_record(address.outputs, name):
        command = shlex.join(["python", *map(without_passwords, sys.argv)])
        new = SweepRecord(
            name=name, title=table, command=command, created=timestamp(), jobs=[], baseline=baseline
        )
        before = read_record(path) if path.exists() else new
        jobs = {(job.row, job.seed): job for job in before.jobs}
        jobs[row, seed] = SweepJob(address.id, address.path.name, row, seed)
        record = replace(before, jobs=[*jobs.values()], baseline=baseline or before.baseline)
        if record != before:
            record.write(address.outputs)
