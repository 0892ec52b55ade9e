"""Compose the configs of a sweep; the only file that uses private functions of Hydra.

tests/sweeps/test_composition.py names each of them, so that an upgrade of Hydra fails with a list.
"""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    OverrideType,
    RangeSweep,
    Transformer,
)
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from augean.config.command_line import (
    check_sweep_file,
    refuse_file_name,
    refuse_shadowed_options,
)
from augean.config.compose import register
from augean.config.override_errors import explain_error
from augean.config.paths import config_dir, fix_places, places
from augean.config.schema import Config
from augean.config.validation import check_config, fill_schema, parse_config, schema_fields
from augean.errors import ConfigError
from augean.sweeps.studies.sampler import SearchSpace
from augean.sweeps.sweep_overrides import EMPTY_SWEEP, bare_key, count_values

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Composition:
    """The config that Hydra has composed for a sweep, from which those of its jobs are composed."""

    loader: ConfigLoader
    master: DictConfig
    """The config of the sweep, with the node `hydra`; no job's values are in it."""
    _without_values: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    """Cache of `compose`: choices of files to the config that they give, pickled."""
    _parsed: dict[str, Override] = field(default_factory=dict)
    """Cache of `compose`: the jobs of a grid repeat the same lines."""
    _groups: dict[str, bool] = field(default_factory=dict)
    """Cache of `compose`: whether a key is a config group."""

    @property
    def arguments(self) -> list[str]:
        """The overrides of the command line, those of the node `hydra` left out."""
        return list(self.master.hydra.overrides.task)

    def parse(self, lines: Sequence[str]) -> list[Override]:
        """Parse overrides; choices such as `glob(*)` are looked up in the config groups.

        Raises:
            HydraException: for a line that is not an override.
        """
        return OverridesParser.create(config_loader=self.loader).parse_overrides(list(lines))

    def compose(self, point: Sequence[str]) -> Config:
        """Compose and check a job's config; the same as Hydra itself would compose.

        Choosing files and checking types costs some hundred milliseconds. Jobs that differ in
        values alone, such as seeds, share it.

        Raises:
            AugeanError, HydraException, OmegaConfBaseException, ValueError: for whatever is wrong
                with the overrides.
        """
        loader = cast(ConfigLoaderImpl, self.loader)
        overrides = [self._parse_line(line) for line in point]
        values = [item for item in overrides if not self._is_choice(item)]
        if any(item.type == OverrideType.DEL or item.package is not None for item in values):
            config = self._load(point)
        else:
            choices = tuple(str(item.input_line) for item in overrides if item not in values)
            if choices not in self._without_values:
                self._without_values[choices] = pickle.dumps(self._load(choices))
            # Faster than a deep copy. A sweep over many files keeps one for each choice, so it
            # matters too that a pickled config is small.
            config = pickle.loads(self._without_values[choices])
            loader._apply_overrides_to_config(values, config)
        fix_places(config, places(self.master.runtime))
        has_added_keys = any(item.type != OverrideType.CHANGE for item in values)
        return parse_config(config) if has_added_keys else check_config(config)

    def _load(self, lines: Sequence[str]) -> DictConfig:
        """Have Hydra compose a job's config, and check its keys and types."""
        whole = self.loader.load_sweep_config(self.master, list(lines))
        return fill_schema(without_hydra(whole))

    def choices(self, point: Sequence[str]) -> dict[str, str | None]:
        """Return the option of each config group, by the group's name."""
        config = self.loader.load_sweep_config(self.master, list(point))
        return dict(config.hydra.runtime.choices)

    def _parse_line(self, line: str) -> Override:
        """Parse an override of a job, each line once."""
        if line not in self._parsed:
            (self._parsed[line],) = OverridesParser.create().parse_overrides([line])
        return self._parsed[line]

    def _is_choice(self, override: Override) -> bool:
        """Return whether an override chooses a file of a config group."""
        key = override.key_or_group
        if key not in self._groups:
            repository = cast(ConfigLoaderImpl, self.loader).repository
            self._groups[key] = repository.group_exists(key)
        return self._groups[key]


def without_hydra(config: DictConfig) -> DictConfig:
    """Return a composed config without the node `hydra`."""
    return OmegaConf.masked_copy(config, [str(name) for name in config if name != "hydra"])


@contextmanager
def compose_sweep(
    name: str, overrides: Sequence[str], folder: Path | None = None
) -> Iterator[Composition]:
    """Compose a sweep file outside a command line; inside the block its jobs can be composed.

    Args:
        folder: of the sweep file, if it is not one of Augean's own.

    Raises:
        AugeanError: for whatever is wrong with the file or the overrides.
    """
    refuse_file_name(name)
    register(name)
    # Hydra looks up files in the places of this path, in order: Augean's folder, the user's folder,
    # and what `register` has stored, which is the last place. `-cd` puts the folder there too.
    search_path = create_config_search_path(str(config_dir()))
    if folder is not None:
        check_sweep_file(folder / f"{name}.yaml")
        refuse_shadowed_options(folder)
        search_path.prepend(
            "command-line", f"file://{folder.absolute()}", SearchPathQuery(provider="schema")
        )
    try:
        # What `python train.py -cn <name> -m` does before it calls the sweeper.
        loader = Hydra.create_main_hydra2("train", search_path).config_loader
        master = loader.load_configuration(name, list(overrides), run_mode=RunMode.MULTIRUN)
        fix_places(master, {})
        yield Composition(loader=loader, master=master)
    except (HydraException, OmegaConfBaseException, ValueError, yaml.YAMLError) as error:
        text = explain_error(error, ["-cn", name, *overrides])
        if text is None:
            raise
        raise ConfigError(text) from error
    finally:
        # Hydra refuses to be initialised twice in a process.
        GlobalHydra.instance().clear()


def parse_search_space(overrides: Sequence[Override]) -> SearchSpace:
    """Sort the effective overrides of a study into what it searches and what its trials share.

    Raises:
        AugeanError: for a space that Optuna has no distribution for, or that is empty.
    """
    # An override with several values is searched; one with a single value is shared by all trials.
    distributions: dict[str, BaseDistribution] = {}
    keys_as_written = {}
    texts = {}
    fixed = []
    for override in overrides:
        key = bare_key(override)
        if not override.is_sweep_override():
            fixed.append(str(override.input_line))
            continue
        if key in distributions:
            raise ConfigError(f"{override.input_line}: the study searches {key} already")
        distributions[key] = _distribution(override)
        keys_as_written[key] = override.get_key_element()
        texts[key] = str(override.input_line).partition("=")[2]
    return SearchSpace(
        distributions=distributions,
        keys_as_written=keys_as_written,
        texts=texts,
        fixed=tuple(fixed),
    )


def _distribution(override: Override) -> "BaseDistribution":
    """Return Optuna's distribution of an override with several values.

    Raises:
        AugeanError: where there is none.
    """
    # Imported here because both import Optuna, which a grid does not need.
    from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
    from optuna.distributions import CategoricalDistribution, IntDistribution

    value = override.value()
    if isinstance(value, ChoiceSweep | RangeSweep) and value.shuffle:
        # The order of a study's choices means nothing, and must be the same at each launch.
        override = replace(override, _value=replace(value, shuffle=False))
    try:
        if override.is_discrete_sweep() and count_values(override) == 0:
            raise ConfigError(EMPTY_SWEEP)
        if override.is_choice_sweep():
            return CategoricalDistribution([_choice(item) for item in override.sweep_iterator()])
        # Hydra reads the ends of intervals as real numbers. A key for whole ones refuses those.
        if isinstance(value, IntervalSweep) and _is_whole(value, bare_key(override)):
            is_log = "log" in value.tags
            return IntDistribution(int(value.start or 0), int(value.end or 0), log=is_log)
        distribution: BaseDistribution = create_optuna_distribution_from_override(override)
        return distribution
    except (ValueError, TypeError, AssertionError, NotImplementedError) as error:
        # Some of these errors have no text; others have further lines, meant for developers.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"{override.input_line}: cannot be searched ({reason}); a space is key=a,b or"
            " key=interval(low,high) or, on a logarithmic scale,"
            " key=tag(log,interval(low,high))"
        ) from error


def _choice(item: Any) -> Any:
    """Return a choice as Optuna takes it: numbers as they are, all else as an override has it."""
    return item if isinstance(item, int | float) else Transformer.str(item)


def _is_whole(interval: IntervalSweep, key: str) -> bool:
    """Return whether an interval is to give whole numbers, because its key takes no others."""
    item = schema_fields().get(key)
    ends = (interval.start, interval.end)
    has_whole_ends = all(end is not None and float(end).is_integer() for end in ends)
    return item is not None and item.type in (int, int | None) and has_whole_ends


def read_values(lines: Sequence[str]) -> list[tuple[str, Any]]:
    """Return overrides that choose no options of groups as dotted keys and values.

    Raises:
        HydraException: for a line that is not an override.
    """
    overrides = OverridesParser.create().parse_overrides(list(lines))
    return [(bare_key(override), override.value()) for override in overrides]


def runs_jobs_here(launcher: Launcher) -> bool:
    """Return whether a launcher is Hydra's own, which runs jobs one by one in this process."""
    return isinstance(launcher, BasicLauncher)


def job_error(result: JobReturn) -> Exception | None:
    """Return the exception that ended a launched job; its public property would raise it."""
    if result.status != JobStatus.FAILED:
        return None
    return cast(Exception, result._return_value)
