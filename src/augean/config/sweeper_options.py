"""Read `hydra.sweeper`: Augean's own options, or those of a file for Optuna's sweeper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, get_origin

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from augean.config.labels import row_label
from augean.config.override_text import override_text, written_value
from augean.config.sweeper_schema import (
    SWEEPERS,
    AugeanSweeperConfig,
    ConfirmConfig,
    OptunaSweeperConfig,
)
from augean.config.validation import schema_fields
from augean.errors import ConfigError
from augean.suggestions import list_choices


@dataclass(frozen=True)
class SweepOptions:
    """Options of a sweep, read from `hydra.sweeper`."""

    sweeper: AugeanSweeperConfig
    workers: int | None = None
    """The `n_jobs` of a translated file; `runtime.workers` on the command line overrides it."""
    notice: str | None = None
    """Line for the user that says how a file was translated; None without translation."""

    def lines(self) -> list[str]:
        """Return the overrides of the sweep file, some with several values.

        Text is written as Hydra reads it, such as `0,1,2` or `interval(0.1, 1)`.

        Raises:
            ConfigError: for a YAML list where several values are meant, and for values that Hydra
                has no notation for.
        """
        # A list is a value of these keys and of class arguments. Elsewhere it must be a mistake.
        list_keys = {key for key, item in schema_fields().items() if get_origin(item.type) is list}
        lines = []
        if self.workers is not None:
            lines.append(f"runtime.workers={self.workers}")
        for key, value in self.sweeper.params.items():
            place = f"hydra.sweeper.params.{key}"
            takes_list = key in list_keys or ".arguments." in key
            if isinstance(value, list) and not takes_list:
                values = ",".join(override_text(item, place) for item in value)
                raise ConfigError(
                    f"{place}={row_label(value)}: is one list; several values are {key}: {values}"
                )
            lines.append(f"{key}={written_value(value, place)}")
        return lines


def read_options(master: DictConfig) -> SweepOptions:
    """Read the options of a sweep from its composed config.

    Raises:
        ConfigError: for options of Optuna's sweeper that have no counterpart here, and for a
            sweeper that is neither Augean's nor Optuna's.
    """
    choice = master.hydra.runtime.choices["hydra/sweeper"]
    check_sweeper(choice)
    node = OmegaConf.to_container(master.hydra.sweeper, resolve=True)
    assert isinstance(node, dict)
    _check_groups(node)
    _check_keys(node, SWEEPERS[choice], "hydra.sweeper")
    # Keys that are null are left out: they get the default of the schema.
    values = {str(key): value for key, value in node.items() if value is not None}
    if choice == "optuna":
        return _translate(OptunaSweeperConfig(**values), master.runtime.workers)
    confirm_values = values.pop("confirm", {})
    _check_keys(confirm_values, ConfirmConfig, "hydra.sweeper.confirm")
    confirm = ConfirmConfig(**confirm_values)
    return SweepOptions(sweeper=AugeanSweeperConfig(**values, confirm=confirm))


def _check_groups(node: Mapping[Any, Any]) -> None:
    """Refuse the name of a sampler or pruner where its options belong.

    Raises:
        ConfigError: with how the option of a group is chosen.
    """
    for name in ("sampler", "pruner"):
        value = node.get(name, {})
        if not isinstance(value, Mapping):
            group = f"hydra/sweeper/{name}"
            options = [file.removesuffix(".yaml") for file in ConfigStore.instance().list(group)]
            raise ConfigError(
                f"hydra.sweeper.{name}={value}: a {name} is chosen by {group}=<option>"
                f"{list_choices(str(value), options, f'{group}=')}"
            )


def _check_keys(node: Mapping[Any, Any], schema: type, place: str) -> None:
    """Refuse keys that were added with `+`, which Hydra does not check.

    Args:
        place: dotted key of the node.

    Raises:
        ConfigError: for the first one.
    """
    names = [item.name for item in fields(schema)]
    for key in map(str, node):
        if key not in names:
            choices = [name for name in names if name not in ("defaults", "_target_")]
            raise ConfigError(
                f"{place}.{key}: there is no such key{list_choices(key, choices, f'{place}.')}"
            )


def check_study_options(sweeper: AugeanSweeperConfig) -> None:
    """Check the options of a study by themselves, before a storage is opened.

    Raises:
        ConfigError: for a number out of range, or another direction.
    """
    values_and_minima = {
        "n_trials": (sweeper.n_trials or 0, 1),
        "final_seeds": (sweeper.final_seeds, 0),
        "max_failures": (sweeper.max_failures, 0),
        "confirm.top": (sweeper.confirm.top, 1),
        "confirm.seeds": (sweeper.confirm.seeds, 0),
    }
    for name, (value, minimum) in values_and_minima.items():
        if value < minimum:
            raise ConfigError(f"hydra.sweeper.{name}={value}: must be at least {minimum}")
    if sweeper.direction != "maximize":
        raise ConfigError(
            f"hydra.sweeper.direction={sweeper.direction}: must be maximize, as the score of a"
            " trial is its validation accuracy; leave it out"
        )


def check_sweeper(choice: str) -> None:
    """Check the option of the config group `hydra/sweeper` that a sweep file chooses.

    Raises:
        ConfigError: for a sweeper that Augean neither has nor translates.
    """
    if choice not in SWEEPERS:
        raise ConfigError(
            f"hydra/sweeper: {choice} is not a sweeper that leaves a record; leave the line out of"
            " the sweep file, Augean's own runs grids and studies"
        )


def _translate(file: OptunaSweeperConfig, workers: int) -> SweepOptions:
    """Translate the options of a file for hydra-optuna-sweeper.

    Args:
        workers: `runtime.workers` of the file or the command line; above 1 it overrides `n_jobs`.

    Raises:
        ConfigError: for several objectives, or a storage that is not a URL.
    """
    if file.storage is not None and not isinstance(file.storage, str):
        raise ConfigError(
            f"hydra.sweeper.storage={file.storage}: must be a URL such as sqlite:///studies.db, or"
            " null for a journal file in <outputs>/studies"
        )
    direction = _read_direction(file.direction)
    # Optuna's sweeper takes a share of the trials, Augean's a number.
    max_failures = round(file.max_failure_rate * file.n_trials)
    # 1 is the default of runtime.workers: nobody chose a number, so the file's counts.
    n_jobs = file.n_jobs if workers == 1 else None
    notice = (
        "hydra/sweeper: optuna is run by Augean's own sweeper, with a record and a study on disk:"
        f" n_trials={file.n_trials}, direction={direction}, max_failures={max_failures}"
        f" (max_failure_rate={file.max_failure_rate:g}), runtime.workers={n_jobs or workers}"
        f" (n_jobs={file.n_jobs})"
    )
    sweeper = AugeanSweeperConfig(
        params=file.params or {},
        n_trials=file.n_trials,
        max_failures=max_failures,
        sampler=file.sampler,
        # Optuna's sweeper never prunes.
        pruner={"_target_": "optuna.pruners.NopPruner"},
        direction=direction,
        storage=file.storage,
        study_name=file.study_name,
        custom_search_space=file.custom_search_space,
    )
    return SweepOptions(sweeper=sweeper, workers=n_jobs, notice=notice)


def _read_direction(value: Any) -> str:
    """Return the direction of a study; Optuna's sweeper takes a name, an enum or a list of them.

    Raises:
        ConfigError: for several directions.
    """
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    directions = value if is_list else [value]
    names = [item.name if isinstance(item, Enum) else item for item in directions]
    if len(names) != 1:
        raise ConfigError(
            f"hydra.sweeper.direction={', '.join(map(str, names))}: a study has one objective, the"
            " validation accuracy; write direction: maximize"
        )
    return str(names[0] or "maximize")
