"""Confirm the best trials of a study with further seeds.

A trial that was chosen for its score owes part of it to luck. Scores with seeds that had no part in
the choice are free of that, so the trial's own seed does not count among them.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from augean.config.sweeper_schema import ConfirmConfig
from augean.runs.address import find_outcome
from augean.store.sweep_record import SweepJob, rank_trials
from augean.sweeps.planned_jobs import PlannedJob


@dataclass(frozen=True)
class Confirmation:
    """The runs with further seeds of the best trials, by the trials' numbers."""

    jobs: Mapping[int, Sequence[PlannedJob]]

    @property
    def all_jobs(self) -> list[PlannedJob]:
        """The runs of all trials, the first seed of each trial first."""
        rounds = zip(*self.jobs.values(), strict=True)
        return [job for jobs in rounds for job in jobs]

    def scores(self) -> dict[int, float]:
        """Return the mean validation accuracy of each trial; empty until all runs have ended.

        A diverged run counts as the worst score, as it does in a trial.
        """
        means = {}
        for number, jobs in self.jobs.items():
            outcomes = [find_outcome(job.address) for job in jobs]
            completed = [outcome for outcome in outcomes if outcome is not None]
            if len(completed) < len(jobs):
                return {}
            means[number] = statistics.fmean(item.objective for item in completed)
        return means

    def is_complete(self) -> bool:
        """Return whether all runs have ended."""
        return len(self.scores()) == len(self.jobs)

    def confirmed(self, trials: Sequence[SweepJob]) -> list[SweepJob]:
        """Return the trials, those that were confirmed with their means."""
        means = self.scores()
        return [replace(job, confirmed_score=means.get(job.trial or 0)) for job in trials]


def find_candidates(trials: Sequence[SweepJob], confirm: ConfirmConfig) -> list[SweepJob]:
    """Return the trials that get further seeds; empty where none are asked for.

    Trials that are the same run are one candidate.
    """
    if confirm.seeds == 0:
        return []
    candidates: dict[str, SweepJob] = {}
    for job in rank_trials(trials):
        candidates.setdefault(job.id, job)
    return list(candidates.values())[: confirm.top]


def new_seeds(own_seed: int, number: int) -> list[int]:
    """Return so many seeds, counted from 0, without a trial's own."""
    return [seed for seed in range(number + 1) if seed != own_seed][:number]
