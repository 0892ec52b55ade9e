"""A study in words and numbers: how far it is, and what its best trial was set to."""

from typing import Any

import pandas

from augean.config.labels import row_label
from augean.report.tables import Column, percent
from augean.store.sweep_record import SweepJob, SweepRecord
from augean.terminal import counted


def progress(study: SweepRecord) -> str:
    """Return how many trials there are, such as "6 trials, 2 of them pruned".

    While trials are missing, it is "4 of 8 trials finished".
    """
    text = study.describe_trials()
    if not _has_ended(study):
        text = f"{study.num_trials_done} of {counted(_num_trials(study), 'trial')} finished"
    for state, words in (("pruned", "of them pruned"), ("fail", "failed")):
        number = sum(trial.state == state for trial in study.trials)
        if number:
            text += f", {number} {words}"
    return text


def _has_ended(study: SweepRecord) -> bool:
    return bool(study.winner) or study.num_trials_done >= _num_trials(study) > 0


def _num_trials(study: SweepRecord) -> int:
    """Return how many trials the study is to have."""
    return study.num_trials or len(study.trials)


def sentence(study: SweepRecord) -> str:
    """Return the study with its progress and its best score, without a full stop."""
    text = f"a study {'of' if _has_ended(study) else 'with'} {progress(study)}"
    best = study.describe_best()
    return f"{text}; best validation accuracy {best}" if best else text


def columns(study: SweepRecord) -> list[Column]:
    """Return scores and values of the best trial and of trial 0, a line each.

    Trial 0 is the default configuration, where that lies in the search space. Empty while no trial
    is complete.
    """
    best = study.best_trial()
    if best is None:
        return []
    trials = [best]
    trials += [trial for trial in study.trials if trial.trial == 0 and trial is not best]
    names = [f"{trial.trial} (best)" if trial is best else str(trial.trial) for trial in trials]
    shown = [
        Column("trial", "text", names),
        Column("validation, %", "number", [percent(trial.score) for trial in trials]),
    ]
    if any(trial.confirmed_score is not None for trial in trials):
        scores = [percent(trial.confirmed_score) for trial in trials]
        shown.append(Column("with new seeds, %", "number", scores))
    for key in dict.fromkeys(key for trial in trials for key in trial.values):
        shown.append(Column(key, "number", [_value(trial, key) for trial in trials]))
    return shown


def _value(trial: SweepJob, key: str) -> str:
    """Return a trial's value of a parameter with at most four digits; "-" where it has none."""
    if key not in trial.values:
        return "-"
    value = trial.values[key]
    return f"{value:.4g}" if isinstance(value, float) else row_label(value)


def csv(study: SweepRecord) -> str:
    """Return all trials with their scores in percent and their values in full."""
    lines = []
    for trial in study.trials:
        line: dict[str, Any] = {
            "trial": trial.trial,
            "run": trial.id,
            "state": trial.state,
            "val_accuracy": _percentage(trial.score),
            "val_accuracy_new_seeds": _percentage(trial.confirmed_score),
        }
        lines.append(line | {key: row_label(value) for key, value in trial.values.items()})
    return pandas.DataFrame(lines).to_csv(index=False, float_format="%.10g", lineterminator="\n")


def _percentage(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction
