"""Say which score is better: a study looks for the highest, or for the lowest."""

from typing import Literal

Direction = Literal["maximize", "minimize"]
"""What a study looks for: the highest or the lowest validation accuracy."""


def sign_of(direction: Direction) -> float:
    """Return by what a score is multiplied, so that the larger product is the better score."""
    return 1.0 if direction == "maximize" else -1.0


def worst_score(direction: Direction) -> float:
    """Return the score of a trial that diverged: no other is worse."""
    return 0.0 if direction == "maximize" else 1.0
