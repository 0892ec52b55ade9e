"""Say what can be learned from the trials of a study: which parameters matter, and where it ended.

All of it comes from the sweep record; the study's storage is not needed.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from augean.config.labels import row_label
from augean.store.sweep_record import COMPLETE, SweepJob, SweepRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_TRIALS = 12
"""Complete trials from which on the importance of parameters is computed. Of simulated studies in
which one of three parameters matters, that one came first in 51 % with 8 trials, 70 % with 12, 73 %
with 20, and 95 % with 40 (benchmarks/importance.py)."""
NUM_BEST = 3
"""Best trials that are looked at for the ends of ranges, where a study has twice as many."""
AT_END = 0.05
"""Share of a range that counts as its end."""
_INTERVAL = re.compile(r"\binterval\((?:start=)?([^,()]+),(?:end=)?([^,()]+)\)")
_LOGARITHMIC = re.compile(r"^tag\((?:[^()]*,)?log,")


@dataclass(frozen=True)
class Range:
    """A searched range of numbers."""

    low: float
    high: float
    is_log: bool
    """Whether it was searched on a logarithmic scale."""

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


def searched_range(text: str) -> Range | None:
    """Return the range that a search space's text names; None for a list of choices.

    Args:
        text: as typed in the sweep, such as `tag(log, interval(1e-3, 1.0))`.
    """
    dense = text.replace(" ", "")
    match = _INTERVAL.search(dense)
    if match is None:
        return None
    try:
        low = float(match[1])
        high = float(match[2])
    except ValueError:
        return None
    is_log = _LOGARITHMIC.search(dense) is not None
    # What Optuna would have refused; a record may hold anything.
    is_sound = -math.inf < low < high < math.inf and not (is_log and low <= 0)
    if not is_sound:
        return None
    return Range(low=low, high=high, is_log=is_log)


def complete_trials(record: SweepRecord) -> list[SweepJob]:
    """Return the trials that were trained to their end and have a score, the best ones first."""
    trials = []
    for trial in record.trials:
        if trial.state == COMPLETE and trial.score is not None and math.isfinite(trial.score):
            trials.append(trial)
    sign = -1.0 if record.direction == "maximize" else 1.0
    return sorted(trials, key=lambda trial: sign * (trial.score or 0.0))


def importances(record: SweepRecord, fewest: int = FEWEST_TRIALS) -> dict[str, float]:
    """Return how much each parameter decides whether a trial is among the best 10 %.

    By PED-ANOVA (Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying
    Hyperparameter Importance in Arbitrary Subspaces"), as Optuna computes it.

    Args:
        fewest: complete trials that it takes.

    Returns:
        Shares that sum up to 1, the most important parameter first. Empty where the study has too
        few complete trials to say.
    """
    trials = complete_trials(record)
    # A pruned trial's score is not comparable, as it was trained for fewer epochs.
    if len(trials) < fewest or not record.space:
        return {}
    # Here, as most reports have no such study, and the import takes as long as a small report.
    import optuna

    # It would say on stderr that a study was created.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction=record.direction)
    distributions = {}
    for key, values in _values_by_key(trials).items():
        distributions[key] = _distribution(searched_range(record.space.get(key, "")), values)
    for trial in trials:
        params = {}
        for key, value in trial.values.items():
            is_number = isinstance(distributions[key], optuna.distributions.FloatDistribution)
            params[key] = float(value) if is_number else row_label(value)
        finished = optuna.trial.create_trial(
            params=params,
            distributions={key: distributions[key] for key in params},
            value=trial.score,
        )
        study.add_trial(finished)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _values_by_key(trials: Sequence[SweepJob]) -> dict[str, list[Any]]:
    """Return all values that trials had of each parameter; a parameter may be missing in some."""
    values: dict[str, list[Any]] = {}
    for trial in trials:
        for key, value in trial.values.items():
            values.setdefault(key, []).append(value)
    return values


def _distribution(searched: Range | None, values: Sequence[Any]) -> "BaseDistribution":
    """Return Optuna's distribution of a parameter: a range, or the choices that trials had."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    are_numbers = all(is_number(value) for value in values)
    if searched is None or not are_numbers:
        # As labels, since Optuna's choices cannot be lists or dictionaries.
        return CategoricalDistribution(sorted({row_label(value) for value in values}))
    # The default configuration may have been tried first, and may lie outside the range.
    low = min(searched.low, *values)
    high = max(searched.high, *values)
    return FloatDistribution(low, high, log=searched.is_log and low > 0)


def is_number(value: Any) -> bool:
    """Tell whether a value of a trial is a number, which `true` is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


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
        if searched is None or len(values) < NUM_BEST:
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
