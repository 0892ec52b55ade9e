"""Labels of table rows: one for each value, in the words of a sweep file."""

from typing import Any

import pytest

from augean.config.labels import find_label, row_label, value_label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (None, "null"),
        (True, "true"),
        (0, "0"),
        (0.0, "0"),
        (-0.0, "0"),
        (1e-4, "0.0001"),
        (1e6, "1000000"),
        (1_000_000, "1000000"),
        (1 / 3, "0.3333333333333333"),
        ("relu", "relu"),
        ([0.9, None, "a"], "[0.9, null, a]"),
        ({"a": 1, "b": True}, "{a: 1, b: true}"),
    ],
)
def test_a_label_is_what_a_sweep_file_says(value: Any, label: str) -> None:
    assert row_label(value) == label


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (0.1234567, 0.1234568),
        (0.3, 0.1 + 0.2),
        (1, "1"),
        (True, "true"),
        (None, "null"),
        ("", None),
        ([1], ["1"]),
    ],
)
def test_different_values_have_different_labels(first: Any, second: Any) -> None:
    assert row_label(first) != row_label(second)


@pytest.mark.parametrize(
    ("key", "label"), [("dataset.name", "2020"), ("model.arguments.year", "'2020'")]
)
def test_text_is_quoted_only_where_it_could_be_a_number(key: str, label: str) -> None:
    assert value_label(key, "2020") == label


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("True", "true"),
        ("yes", "true"),
        (False, "no"),
        ("False", "no"),
        ("0.0", "0"),
        ("5e-4", "0.0005"),
        ("8", "010"),
        ("90", "1:30"),
        ("None", "null"),
        ("~", "null"),
        ("1000000", "1000000"),
        ("sgd, 5e-4,yes", "sgd, 0.0005, true"),
        ("model.stem=None", "model.stem=null"),
        ("[0.9,0.9990]", "[0.9, 0.999]"),
        ("a, b: {c}", "a, b: {c}"),
    ],
)
def test_a_label_is_found_however_yaml_has_changed_it(name: Any, label: str) -> None:
    assert find_label(name, ["other", label]) == label


def test_a_label_that_is_there_as_written_comes_first() -> None:
    assert find_label("1", ["'1'", "1"]) == "1"


@pytest.mark.parametrize("name", ["on", "elu", ""])
def test_a_label_that_means_several_rows_or_none_is_not_found(name: str) -> None:
    assert find_label(name, ["yes", "true", "relu"]) is None
