"""Say what can be learned from the trials of a study: which parameters matter, and where it ended.

All of it comes from the sweep record; the study's storage is not needed.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from augean.config.labels import row_label
from augean.store.sweep_record import SweepJob, SweepRecord, rank_trials

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_TRIALS = 12
"""Complete trials from which on the importance of parameters is computed. Of simulated studies in
which one of three parameters matters, that one came first in 51 % with 8 trials, 70 % with 12, 73 %
with 20, and 95 % with 40 (benchmarks/importance.py)."""
FAILED = "fail"
"""State of a trial that broke off, in Optuna's word."""
NUM_BEST = 3
"""Best trials that are looked at for the ends of ranges, where a study has twice as many."""
AT_END = 0.05
"""Share of a range that counts as its end."""
FEWEST_VALUES = 4
"""Values that a range of steps has to have. Of three values, the best three trials agree by chance
on one of the ends in 7 % of studies, of four in 3 %."""
LARGEST = 1e100
"""Numbers beyond it have no place on an axis, whose margins would overflow."""
SMALLEST = 1e-100
"""The same for the lower end of a logarithmic range."""
NARROWEST = 1e-9
"""Width of a range, as a share of its larger end, that an axis needs to tell values apart."""
LOGARITHMIC_FROM = 30
"""Ratio of the largest number to the smallest from which on unrecorded ranges are drawn on a
logarithmic scale. Few trials leave the ends of a range of two or three decades unseen."""
_INTERVAL = re.compile(r"\binterval\((?:start=)?([^,()]+),(?:end=)?([^,()]+)\)")
_STEPS = re.compile(r"\brange\(([^()]+)\)")
_NAMES_RANGE = re.compile(r"\b(interval|range)\(")
_LOGARITHMIC = re.compile(r"\btag\((?:[^()]*,)?log,")


@dataclass(frozen=True)
class Range:
    """A searched range of numbers."""

    low: float
    high: float
    is_log: bool
    """Whether it was searched on a logarithmic scale."""
    step: float | None = None
    """Distance of the values that were searched; None where all between the ends were."""
    is_recorded: bool = True
    """Whether the study's record has it; else it is that of the values which trials had."""

    @property
    def num_values(self) -> float:
        """How many values were searched; infinite without a step."""
        if self.step is None:
            return math.inf
        return 1 + round((self.high - self.low) / self.step)

    def nearest(self, value: float) -> float:
        """Return the value itself, or the end that it lies beyond.

        The default configuration, which a study may try first, need not lie in the range.
        """
        return min(max(float(value), self.low), self.high)

    def position(self, value: float) -> float:
        """Return where in the range a value lies: 0 at its lower end, 1 at its upper one."""
        inside = self.nearest(value)
        if self.is_log:
            return math.log(inside / self.low) / math.log(self.high / self.low)
        return (inside - self.low) / (self.high - self.low)


def without_repeated_trials(record: SweepRecord) -> SweepRecord:
    """Return the record without trials that ended with their worker and were queued again.

    Optuna calls them failed; the trial that has the same run says how it went.
    """
    others = {job.id for job in record.trials if job.state != FAILED}
    kept = [job for job in record.jobs if job.state != FAILED or job.id not in others]
    return replace(record, jobs=kept)


def searched_range(text: str) -> Range | None:
    """Return the range that a search space's text names; None for a list of choices.

    Args:
        text: as typed in the sweep, such as `tag(log, interval(1e-3, 1.0))` or `range(8, 33, 8)`.
    """
    dense = text.replace(" ", "")
    try:
        searched = _interval(dense) or _steps(dense)
    # Not numbers, or steps of which there are none or endlessly many.
    except (ValueError, ArithmeticError):
        return None
    if searched is None or not _is_sound(searched):
        return None
    return searched


def range_of(text: str | None, values: Sequence[Any]) -> Range | None:
    """Return the range that a parameter's values are drawn in; None where they are choices.

    Where the range is not recorded, or is none that can be drawn, it is that of the values.

    Args:
        text: of the search space; None for values that a custom search-space function drew.
        values: those that trials had.
    """
    if not all(is_number(value) for value in values):
        return None
    if text is None:
        return _observed_range(values)
    searched = searched_range(text)
    if searched is None and _NAMES_RANGE.search(text):
        return _observed_range(values)
    return searched


def _observed_range(values: Sequence[float]) -> Range | None:
    """Return the range from the smallest to the largest of some numbers.

    It is logarithmic where they are positive and far apart. None where an axis could not tell them
    apart.
    """
    low = float(min(values))
    high = float(max(values))
    is_log = low >= SMALLEST and high / low >= LOGARITHMIC_FROM
    searched = Range(low=low, high=high, is_log=is_log, is_recorded=False)
    return searched if _is_sound(searched) else None


def is_number(value: Any) -> bool:
    """Tell whether a value of a trial is a number that fits on an axis, which `true` does not."""
    is_numeric = isinstance(value, int | float) and not isinstance(value, bool)
    # False for what is not a number, too.
    return is_numeric and -LARGEST <= value <= LARGEST


def _interval(dense: str) -> Range | None:
    """Return the range of an interval."""
    match = _INTERVAL.search(dense)
    if match is None:
        return None
    is_log = _LOGARITHMIC.search(dense) is not None
    return Range(low=float(match[1]), high=float(match[2]), is_log=is_log)


def _steps(dense: str) -> Range | None:
    """Return the range of evenly spaced numbers, whose stop is not among them."""
    match = _STEPS.search(dense)
    if match is None:
        return None
    names = ["start", "stop", "step"]
    arguments = match[1].split(",")
    if len(arguments) == 1:
        names = ["stop"]
    numbers = {"start": 0.0, "step": 1.0}
    for name, argument in zip(names, arguments, strict=False):
        typed_name, _, typed = argument.rpartition("=")
        numbers[typed_name or name] = float(typed)
    if "stop" not in numbers:
        return None
    start = numbers["start"]
    step = numbers["step"]
    # Rounded, as 0.1 + 0.1 + 0.1 is a little more than 0.3.
    num_steps = math.ceil(round((numbers["stop"] - start) / step, 6)) - 1
    last = start + num_steps * step
    return Range(low=min(start, last), high=max(start, last), is_log=False, step=abs(step))


def _is_sound(searched: Range) -> bool:
    """Tell whether a range can be drawn; a record may hold any text."""
    if not -LARGEST <= searched.low < searched.high <= LARGEST:
        return False
    if searched.is_log and searched.low < SMALLEST:
        return False
    largest = max(abs(searched.low), abs(searched.high))
    return searched.high - searched.low >= NARROWEST * largest


def complete_trials(record: SweepRecord) -> list[SweepJob]:
    """Return the trials that were trained to their end and have a score, the best ones first."""
    ranking = rank_trials(record.trials)
    return [trial for trial in ranking if math.isfinite(trial.score or 0.0)]


def importances(record: SweepRecord, fewest: int = FEWEST_TRIALS) -> dict[str, float]:
    """Return how much each parameter decides whether a trial is among the best 10 %.

    By PED-ANOVA (Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying
    Hyperparameter Importance in Arbitrary Subspaces"), as Optuna computes it.

    Args:
        fewest: complete trials that it takes.

    Returns:
        Shares that sum up to 1, the most important parameter first. Empty where the study cannot
        say: with too few complete trials, with equal best scores, or without a record of what was
        searched.
    """
    trials = complete_trials(record)
    # A pruned trial's score is not comparable, as it was trained for fewer epochs.
    if len(trials) < fewest or keys_outside_space(record):
        return {}
    # Where most trials share the best score, the best 10 % are no group of their own.
    num_best = sum(trial.score == trials[0].score for trial in trials)
    if num_best > len(trials) / 2:
        return {}
    # Here, as most reports have no such study, and the import takes as long as a small report.
    import optuna

    # It would say on stderr that a study was created.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    distributions = {}
    for key, values in _values_by_key(trials).items():
        distributions[key] = _distribution(record.space[key], values)
    for trial in trials:
        params = {}
        for key, value in trial.values.items():
            is_range = isinstance(distributions[key], optuna.distributions.FloatDistribution)
            params[key] = float(value) if is_range else row_label(value)
        finished = optuna.trial.create_trial(
            params=params,
            distributions={key: distributions[key] for key in params},
            value=trial.score,
        )
        study.add_trial(finished)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def keys_outside_space(record: SweepRecord) -> list[str]:
    """Return the keys that trials have values of without a range in the record.

    A custom search-space function draws such values. How far a value is from another is unknown
    then: as choices of their own, numbers that do not matter would seem the most important.
    """
    keys = {key: None for trial in record.trials for key in trial.values}
    return [key for key in keys if key not in record.space]


def _values_by_key(trials: Sequence[SweepJob]) -> dict[str, list[Any]]:
    """Return all values that trials had of each parameter; a parameter may be missing in some."""
    values: dict[str, list[Any]] = {}
    for trial in trials:
        for key, value in trial.values.items():
            values.setdefault(key, []).append(value)
    return values


def _distribution(text: str, values: Sequence[Any]) -> "BaseDistribution":
    """Return Optuna's distribution of a parameter: a range, or the choices that trials had.

    Args:
        text: of the search space.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    searched = range_of(text, values)
    if searched is None:
        # As labels, since Optuna's choices cannot be lists or dictionaries.
        return CategoricalDistribution(sorted({row_label(value) for value in values}))
    # The default configuration may have been tried first, and may lie outside the range.
    low = min(searched.low, *values)
    high = max(searched.high, *values)
    return FloatDistribution(low, high, log=searched.is_log and low > 0)


def remarks_on_ends(record: SweepRecord) -> list[str]:
    """Return which ranges a study's best trials lie at an end of, so that it should be widened."""
    trials = complete_trials(record)
    # Of fewer trials the best ones are too many to agree on anything.
    if len(trials) < 2 * NUM_BEST:
        return []
    best = trials[:NUM_BEST]
    remarks = []
    for key, text in record.space.items():
        searched = searched_range(text)
        values = [trial.values[key] for trial in best if is_number(trial.values.get(key))]
        if searched is None or searched.num_values < FEWEST_VALUES or len(values) < NUM_BEST:
            continue
        end = _common_end([searched.position(value) for value in values])
        if end is not None:
            remarks.append(
                f"The best {NUM_BEST} of {len(trials)} trials lie within {100 * AT_END:.0f} % of"
                f" the {end} end of {key} {text}: widen it, if it can be."
            )
    return remarks


def _common_end(positions: Sequence[float]) -> str | None:
    """Return the end of a range that all positions lie at; None where there is none."""
    if max(positions) <= AT_END:
        return "lower"
    if min(positions) >= 1 - AT_END:
        return "upper"
    return None
