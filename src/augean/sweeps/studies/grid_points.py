"""Choose the next point of a study whose sampler visits every point of a grid.

Optuna's own sampler of a grid takes a failed trial for a visit, and proposes points again when it
knows none that is left. Augean knows the points, so it queues each of them itself.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from augean.sweeps.studies.trial import REFUSED, has_failed

Point = Mapping[str, Any]


class GridPoints:
    """The points of a grid, sorted by what became of them."""

    def __init__(
        self,
        points: Sequence[Point],
        trials: Sequence[FrozenTrial],
        point_of: Callable[[FrozenTrial], Point],
        command: float,
    ) -> None:
        """Sort the points.

        Args:
            points: in the order in which they are to be visited.
            point_of: returns a trial's point.
            command: this one, as `augean.sweeps.studies.trial.COMMAND` has it.
        """
        self.points = {_key(point): point for point in points}
        self.visited: set[frozenset[Any]] = set()
        """Of complete and pruned trials."""
        self.running: set[frozenset[Any]] = set()
        self.refused: set[frozenset[Any]] = set()
        """Refused at every try, so nothing is left to do for them."""
        self.failed: set[frozenset[Any]] = set()
        """Have failed in this command, which does not try them again."""
        self.num_failures: Counter[frozenset[Any]] = Counter()
        for trial in trials:
            key = _key(point_of(trial))
            if key in self.points:
                self._sort(key, trial, command)

    def _sort(self, key: frozenset[Any], trial: FrozenTrial, command: float) -> None:
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            self.visited.add(key)
        elif trial.state == TrialState.RUNNING:
            self.running.add(key)
        if REFUSED in trial.user_attrs:
            self.refused.add(key)
        if has_failed(trial):
            self.num_failures[key] += 1
        if has_failed(trial, command):
            self.failed.add(key)

    def has_left(self) -> bool:
        """Return whether a point is neither visited nor refused."""
        return bool(self.points.keys() - self.visited - self.refused)

    def next(self) -> Point | None:
        """Return the point to visit next; None where this command has no more to try."""
        ended = self.visited | self.refused
        free = [key for key in self.points if key not in ended | self.running | self.failed]
        if not free:
            return None
        # What failed in an earlier command may fail again, so it comes last.
        return self.points[min(free, key=lambda key: self.num_failures[key])]


def _key(point: Point) -> frozenset[Any]:
    return frozenset(point.items())
