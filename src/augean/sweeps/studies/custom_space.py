"""Extend a study's space by a function of the user: `hydra.sweeper.custom_search_space`.

The function gets the sweep's config and a trial, and asks the trial for further values, such as
`trial.suggest_float("optimizer.momentum", 0, 0.98)`, which may depend on those that it has already.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from augean.config.code_digest import module_code
from augean.config.instantiate import import_own_module, running_own_code
from augean.errors import ConfigError
from augean.override_key import override_key
from augean.store.record_identity import EXECUTION_KEY
from augean.sweeps.studies.sampler import LUCK_KEYS

if TYPE_CHECKING:
    from optuna.trial import Trial

KEY = "hydra.sweeper.custom_search_space"
NUM_EXAMPLES = 16
"""Trials that are made up to see what a function asks for, before the study begins."""


@dataclass(frozen=True)
class CustomSpace:
    """A function that asks a trial for further values."""

    name: str
    """Dotted, as in the config."""
    function: "Callable[[DictConfig, Trial], None]"
    config: DictConfig
    """Of the sweep, without the values of any trial."""
    fixed_keys: frozenset[str]
    """Keys that have one value in the whole study."""

    def identity(self) -> str:
        """Return the name with the digest of the code, which decides what the space is."""
        return f"{self.name} {module_code(self.name.rpartition('.')[0]).digest}"

    def extend(self, trial: "Trial") -> None:
        """Let the function ask for its values.

        Raises:
            ConfigError: when it fails, or asks for a key that no study may search.
        """
        asked_before = set(trial.params)
        with running_own_code(f"{KEY}={self.name}"):
            self.function(self.config, trial)
        # `+` and `++` make no other key: the last override of a key would win in silence.
        searched_keys = {override_key(name) for name in asked_before}
        for name in trial.params:
            if name in asked_before:
                continue
            self._refuse_key(name, searched_keys)
            searched_keys.add(override_key(name))

    def _refuse_key(self, name: str, searched_keys: Collection[str]) -> None:
        """Refuse a key that the function must not search.

        Args:
            name: the key as the function writes it.
            searched_keys: keys that the study searches already.

        Raises:
            ConfigError: with the reason.
        """
        key = override_key(name)
        if key in LUCK_KEYS or EXECUTION_KEY.match(name):
            raise ConfigError(
                f"{KEY}={self.name}: searches {name}, which is the same in all trials of a"
                " study; let the function leave it out"
            )
        if key in self.fixed_keys:
            raise ConfigError(
                f"{KEY}={self.name}: searches {name}, which has a value already; leave {key}"
                " out of the overrides and of hydra.sweeper.params"
            )
        if key in searched_keys:
            raise ConfigError(
                f"{KEY}={self.name}: searches {name}, but the study searches {key} already; let"
                " one of the two leave it out"
            )

    def examples(
        self, space: Mapping[str, Any], points: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Return made-up trials: their values, those that the function asked for included.

        Args:
            space: distributions beside the function's.
            points: values of these with which to begin.

        Raises:
            ConfigError: as `extend` does.
        """
        import optuna  # a grid needs none of it

        optuna.logging.set_verbosity(optuna.logging.WARNING)  # before its first study
        sampler = optuna.samplers.RandomSampler(seed=0)
        study = optuna.create_study(sampler=sampler)
        for point in points:
            study.enqueue_trial(dict(point))
        examples = []
        for _ in range(max(NUM_EXAMPLES, len(points))):
            trial = study.ask(dict(space))
            self.extend(trial)
            examples.append(dict(trial.params))
        return examples


def find_custom_space(
    name: str, config: DictConfig, packages: Sequence[str], fixed: Sequence[str]
) -> CustomSpace:
    """Find the function that a config names.

    Args:
        name: dotted.
        config: of the sweep.
        packages: those that the user trusts: importing one runs its code.
        fixed: overrides that all trials share.

    Raises:
        ConfigError: when it is not a function of a package that is allowed.
    """
    module_name, _, function_name = name.rpartition(".")
    package = module_name.split(".")[0]
    if not package:
        raise ConfigError(f"{KEY}={name}: must be a dotted name such as mine.spaces.extend")
    if package not in packages:
        setting = ",".join([*packages, package])
        raise ConfigError(
            f"{KEY}={name}: {package} is not among the packages that you trust; to add it set"
            f" runtime.allowed_packages=[{setting}]"
        )
    module = import_own_module(f"{KEY}={name}", module_name)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(f"{KEY}={name}: {module_name} has no function {function_name}")
    return CustomSpace(
        name=name,
        function=function,
        config=config,
        fixed_keys=frozenset(override_key(item) for item in fixed),
    )
