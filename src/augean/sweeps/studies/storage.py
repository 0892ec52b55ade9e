"""Open the storage of a study: a journal file, or a database that may be restarting."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna

from augean.errors import AugeanError, ConfigError, StorageError
from augean.passwords import hide_passwords
from augean.store.sweep_record import read_record
from augean.sweeps.studies.journal import Journal
from augean.terminal import counted

NUM_TRIES = 6
"""Attempts to reach a database at the start."""
NUM_RECONNECTS = 60
"""Attempts to reach it again later. A restart may take a minute, which must not cost a trial."""
PAUSE_SECONDS = 1.0
"""Wait between two attempts."""


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open an Optuna storage.

    Args:
        url: path of a journal file, which ends in .journal, or the SQLAlchemy URL of a database.

    Raises:
        ConfigError: when the database's driver is missing.
        StorageError: when it cannot be opened, or the journal is damaged.
    """
    if url.endswith(".journal"):
        return optuna.storages.JournalStorage(Journal(url))
    import sqlalchemy  # only for a database: a journal needs none of it

    failure: Exception | None = None
    for _ in range(NUM_TRIES):
        try:
            # A new connection for each statement. A worker trains for long between two of them, and
            # a database closes idle connections, or has too few for all workers.
            storage = optuna.storages.RDBStorage(
                url, engine_kwargs={"poolclass": sqlalchemy.pool.NullPool}
            )
            sqlalchemy.event.listen(storage.engine, "do_connect", _connect)
            return storage
        except ImportError as error:
            raise ConfigError(
                f"hydra.sweeper.storage: {error.__cause__ or error}; for PostgreSQL pip install"
                " 'augean[postgresql]'"
            ) from error
        except Exception as error:  # SQLAlchemy, its drivers and databases raise whatever they like
            # Where several processes create the tables of one database at once, all but one fail;
            # at the next try the tables are there.
            failure = error
            time.sleep(PAUSE_SECONDS)
    # Drivers quote the URL that they cannot read, with its password.
    reason = hide_passwords(str(failure), [url])
    raise StorageError(
        f"hydra.sweeper.storage: cannot open the study's storage: {reason}"
    ) from failure


def _connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
    """Connect to a database that may be restarting; called by SQLAlchemy in place of its own."""
    for _ in range(NUM_RECONNECTS):
        with suppress(dialect.loaded_dbapi.OperationalError):
            return dialect.connect(*arguments, **options)
        time.sleep(PAUSE_SECONDS)
    # The last attempt: what it raises reaches the caller.
    return dialect.connect(*arguments, **options)


def refuse_lost_trials(record: Path, study: str, url: str) -> None:
    """Refuse to begin a study anew whose trials are elsewhere: its record would be overwritten.

    Args:
        record: file of the study's record, which need not exist.
        study: name of the study in its storage.
        url: as for `open_storage`.

    Raises:
        AugeanError: when the record has finished trials, and the storage lacks the study.
    """
    # The record is read first: what it has by now was in the storage before.
    num_trials = read_record(record).num_trials_done if record.exists() else 0
    # A journal that was cut at a damaged line has the study, and the trials before that line.
    if num_trials == 0 or _has_study(study, url):
        return
    # Without the address, in which a password may be.
    raise AugeanError(
        f"{record}: has {counted(num_trials, 'trial')} of this study, which its storage lacks;"
        " give that hydra.sweeper.storage again, bring its journal back, or move the record away"
        " to begin anew"
    )


def _has_study(study: str, url: str) -> bool:
    """Return whether a storage has a study of this name."""
    file = url.removeprefix("sqlite:///")
    is_file = url.endswith(".journal") or file != url
    if is_file and not Path(file).exists():
        return False  # opening it would create it
    return study in [item.study_name for item in open_storage(url).get_all_studies()]


@contextmanager
def reaching_storage() -> Iterator[None]:
    """Turn what a database raises into an error that ends the sweep and blames no trial."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        reason = error.__cause__ or error
        raise StorageError(
            f"the study's storage cannot be reached any more: {reason}\nWhen it can, the same"
            " command goes on"
        ) from error
