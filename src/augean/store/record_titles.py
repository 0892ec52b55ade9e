"""Tell sweep records of one title apart, in tables, figures and lists."""

from collections import Counter
from collections.abc import Iterable

from augean.store.sweep_record import SweepRecord


def distinctions(records: Iterable[SweepRecord]) -> dict[str, str]:
    """Return what tells records of one title apart, by their names.

    That is what was asked for, the overrides; where these are the same too, the record's name.
    Empty for a title of its own.
    """
    records = list(records)
    titles = Counter(record.title for record in records)
    requests = Counter((record.title, " ".join(record.overrides)) for record in records)
    texts = {}
    for record in records:
        overrides = " ".join(record.overrides)
        text = ""
        if requests[record.title, overrides] > 1:
            text = record.name
        elif titles[record.title] > 1:
            text = overrides
        texts[record.name] = text
    return texts


def distinct_titles(records: Iterable[SweepRecord]) -> dict[str, str]:
    """Return the titles of records by their names, with what tells equal ones apart."""
    records = list(records)
    texts = distinctions(records)
    titles = {}
    for record in records:
        text = texts[record.name]
        titles[record.name] = f"{record.title} ({text})" if text else record.title
    return titles
