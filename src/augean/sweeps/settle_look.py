"""Show the table that `augean settle` works on: each row's interval, and what the rest may cost."""

import logging
import math
from dataclasses import dataclass

from augean.analysis.sequential import Course, JobRuns
from augean.analysis.sequential_design import design_of
from augean.store.sweep_record import SweepRecord

logger = logging.getLogger(__name__)

WIDTH = 41  # characters of the picture of a row's interval


@dataclass(frozen=True)
class Look:
    """The state of a table between two rounds."""

    job_runs: JobRuns
    courses: list[Course]
    """Each row's comparison with the baseline."""
    seconds: float
    """Median time of a finished run; NaN where none is."""


def seeds_of_row(record: SweepRecord, row: str) -> set[int]:
    """Return the seeds that a record has of a row."""
    return {job.seed for job in record.jobs if job.row == row}


def show(record: SweepRecord, look: Look) -> None:
    """Log each row's interval as a picture and in numbers, and what the undecided ones may cost."""
    design = design_of(record)
    logger.info(
        f"{record.title}: difference to {record.baseline} in points, {design.least} to"
        f" {design.most} seeds; ':' marks ±{design.margin:g} points"
    )
    width = max(len(course.row) for course in look.courses)
    for course in look.courses:
        picture = draw_interval(course, design.margin)
        verdict = course.difference.text
        logger.info(f"  {course.row:{width}}  {picture}  {_numbers(course)}  {verdict}")
    undecided = [course for course in look.courses if course.open]
    if not undecided:
        return
    # Seeds that each row is expected to need; the baseline needs as many as the longest of them.
    targets = {course.row: course.expected or design.most for course in undecided}
    targets[str(record.baseline)] = max(targets.values())
    num_runs = 0
    for row, target in targets.items():
        num_runs += max(0, target - len(seeds_of_row(record, row)))
    hours = num_runs * look.seconds / 3600
    # Without a finished run no time is known.
    time_text = "" if math.isnan(hours) else f", {hours:.2g} h of device time"
    logger.info(
        f"  undecided: {len(undecided)} of {len(look.courses)} rows; if means and deviations stay"
        f" as they are, about {num_runs} more runs{time_text}"
    )
    # Of a row with one seed nothing is known.
    hopeless = [item.row for item in undecided if item.expected is None and item.n > 1]
    if hopeless:
        logger.info(f"  {design.most} seeds would probably leave {', '.join(hopeless)} undecided")


def _numbers(course: Course) -> str:
    """Return a row's difference and half its interval, always 19 characters."""
    difference = course.difference
    if not course.looks:
        return " " * 19
    half = f"± {difference.high - difference.value:.2f}"
    if math.isnan(difference.low):
        half = "no interval"
    return f"{difference.value:+7.2f} {half:11}"


def draw_interval(course: Course, margin: float) -> str:
    """Draw the last interval on a scale of ten margins.

    Its signs are - for the interval, o for the difference, | for zero and : for the margin.
    """

    def place(number: float) -> int:
        # The scale goes from -5 to 5 margins; what lies beyond is drawn at its end.
        in_margins = min(max(number / margin, -5), 5)
        return round((WIDTH - 1) * (in_margins + 5) / 10)

    difference = course.difference
    line = [" "] * WIDTH
    if course.looks:
        # Scores without any spread have no interval: nothing is ruled out.
        low = -math.inf if math.isnan(difference.low) else difference.low
        high = math.inf if math.isnan(difference.high) else difference.high
        for index in range(place(low), place(high) + 1):
            line[index] = "-"
    line[place(-margin)] = ":"
    line[place(0)] = "|"
    line[place(margin)] = ":"
    if course.looks:
        line[place(difference.value)] = "o"
    return "".join(line)
