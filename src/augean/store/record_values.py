"""Check the types of a sweep record's values, when it is read and when it is written."""

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from augean.store.values import (
    WrongValueError,
    as_count,
    as_mapping,
    as_number,
    as_plain,
    as_text,
    as_texts,
    refuse,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_NAME = 240
"""Most characters of a run's id or directory; file systems allow 255 with an ending."""


def split_row_keys(text: str | None) -> list[str]:
    """Return the dotted keys of `runtime.table.row`, a text with commas between them."""
    parts = (part.strip() for part in (text or "").split(","))
    return [part for part in parts if part]


def check_values(
    item: "DataclassInstance", parsers: Mapping[str, Callable[[Any], Any]], place: str = ""
) -> None:
    """Check the values of a record, or of one of its jobs.

    A value may be None where that is its field's default.

    Args:
        parsers: by the names of fields; each raises `WrongValueError` for a value of another type.
        place: for the message, after the value.

    Raises:
        TypeError: names the first field with a wrong value, and that.
    """
    may_be_none = {field.name for field in fields(item) if field.default is None}
    for name, parse in parsers.items():
        value = getattr(item, name)
        if not (value is None and name in may_be_none):
            _check_value(name, value, parse, place)


def _check_value(name: str, value: Any, parse: Callable[[Any], Any], place: str) -> None:
    try:
        parse(value)
    except WrongValueError as error:
        # reprlib cuts what is long: the value may be of any size.
        subject = f"{name}={reprlib.repr(value)} {place}".rstrip()
        raise TypeError(f"{subject}: must be {error}") from error


def _as_typed(value: Any) -> str:
    """Return a text as it is: a command line and names of files may hold bytes beside UTF-8."""
    if not isinstance(value, str):
        refuse("text")
    return value


def _as_text_list(value: Any) -> list[str]:
    if not isinstance(value, list):
        refuse("a list of texts")
    return [_as_typed(item) for item in value]


def _as_directory(value: Any) -> str:
    """Return the name of a run's directory, which lies in outputs/runs and nowhere else."""
    name = as_text(value)
    # No name that leads out of outputs/runs, and none that the system would refuse later.
    leads_elsewhere = name in ("", ".", "..") or "/" in name
    if leads_elsewhere or "\0" in name or len(name) > MAX_NAME:
        refuse("the name of a directory")
    return name


# By the names of the fields of SweepRecord and SweepJob, all but `kind`, `direction`, `jobs` and
# `schema`, which `augean.store.sweep_record` checks itself.
RECORD_PARSERS: dict[str, Callable[[Any], Any]] = {
    "name": _as_typed,
    "title": as_text,
    "command": _as_typed,
    "created": as_text,
    "experiment": as_text,
    "choices": as_texts,
    "figure": as_text,
    "note": as_text,
    "space": as_texts,
    "num_trials": as_count,
    "timeout": as_text,
    "confirm": as_mapping,
    "overrides": _as_text_list,
    "winner": _as_text_list,
    "studies": _as_text_list,
    "winners": as_texts,
    "row_keys": _as_text_list,
    "column": as_text,
    "band": as_text,
    "baseline": as_plain,
    "reference": as_mapping,
    "reference_dataset": as_text,
    "design": as_mapping,
}
JOB_PARSERS: dict[str, Callable[[Any], Any]] = {
    "id": _as_directory,
    "run": _as_directory,
    "row": as_text,
    "column": as_text,
    "seed": as_number,
    "trial": as_count,
    "state": as_text,
    "score": as_number,
    "values": as_mapping,
    "confirmed_score": as_number,
    "command": as_text,
}
