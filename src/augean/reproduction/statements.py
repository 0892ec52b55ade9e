"""The statements of the course report: what each says, and what may be found about it.

claims.yaml lists them. `augean.reproduction.claims` judges them.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from omegaconf import OmegaConf

from augean.analysis.verdict import Verdict

LAST_EPOCHS = 10
"""Epochs that count as the end of the course report's 35. A shorter run has the same share, at
least three."""
Measure = Literal["points", "seconds", "epochs", "loss", "dead units"]
"""What a statement is about; `Evidence.measure` has the units."""


class Judgement(StrEnum):
    """What the tables make of a statement."""

    HOLDS = "holds"
    WITHIN_NOISE = "within noise"
    WRONG = "wrong"
    CANNOT_BE_SAID = "cannot be said here"


class Expectation(NamedTuple):
    """What a statement expects of a row.

    "Better" is the verdict of a row that has more of what is measured, be it points or seconds.
    """

    holds: frozenset[Verdict]
    """The row's verdicts with which the statement holds."""
    wrong: frozenset[Verdict]
    """Those with which it is wrong. With any other verdict nothing is proved."""


EXPECTATIONS = {
    "more": Expectation(
        holds=frozenset({Verdict.BETTER}),
        wrong=frozenset({Verdict.WORSE}),
    ),
    "less": Expectation(
        holds=frozenset({Verdict.WORSE}),
        wrong=frozenset({Verdict.BETTER}),
    ),
    "not more": Expectation(
        holds=frozenset({Verdict.WORSE, Verdict.EQUIVALENT}),
        wrong=frozenset({Verdict.BETTER}),
    ),
    "refuted by more": Expectation(
        holds=frozenset(),
        wrong=frozenset({Verdict.BETTER}),
    ),
}
"""By the word that claims.yaml has for it."""


@dataclass(frozen=True)
class Statement:
    """One thing that a claim says of a row of a sweep's table.

    The comment at the top of claims.yaml explains the fields.
    """

    claim: int
    text: str
    sweep: str = ""
    row: str = ""
    expected: str = "more"
    measure: Measure = "points"
    against: str = ""
    unknown: str = ""


@dataclass(frozen=True)
class ReportedSweep:
    """One of the sweeps that a full pass consists of."""

    make: str
    """Its target in the Makefile."""
    epochs: int | None = None
    """None where it has as many as the common setting."""


@dataclass(frozen=True)
class CourseReport:
    """What the course report states, and the sweeps that can speak about it."""

    statements: list[Statement]
    sweeps: dict[str, ReportedSweep]
    """By the name of their file."""
    common: dict[str, Any]
    """The setting that Tables 1 to 4 share, by dotted key."""
    widths: list[str]
    """The labels of Table 3's rows."""


@cache
def course_report() -> CourseReport:
    """Return the content of claims.yaml.

    Cached, so that all callers share one object, which none of them changes.
    """
    content: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_name("claims.yaml")))
    return CourseReport(
        statements=[Statement(**item) for item in content["statements"]],
        sweeps={name: ReportedSweep(**item) for name, item in content["sweeps"].items()},
        common=content["common"],
        widths=content["widths"],
    )


class Judged(NamedTuple):
    """A statement with what the tables make of it."""

    statement: Statement
    judgement: Judgement
    evidence: str
    """The numbers from which the judgement follows, in words."""


def num_last_epochs(epochs: int) -> int:
    """Return how many of a run's epochs count as its end, where its accuracy no longer rises."""
    report_epochs: int = course_report().common["trainer.epochs"]
    same_share = round(LAST_EPOCHS * epochs / report_epochs)
    return min(LAST_EPOCHS, max(3, same_share))
