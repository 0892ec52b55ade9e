"""Write config values as labels of table rows, and find the row that a label means."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import yaml

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
"""A decimal number, 1e-4 included, which YAML 1.1 takes for text because it has no point."""
WORD = re.compile(r"[^,=\[\]{}]+")
"""One value in a label of several, such as `sgd, 0.1`, `model.stem=null` or `[0.9, 0.999]`."""
LARGEST_EXACT = 2.0**53
"""Whole numbers up to this one are the same as a float and as an integer."""


def row_label(value: Any) -> str:
    """Return a config value as a row's label, written as in a sweep file.

    Null, booleans, numbers and the texts that look like them have different labels: `relu`, `null`,
    `true`, `0.0001` for 1e-4, `0` for 0.0, `[0.9, 0.999]`, `{a: 1}`, and `'1'` for the text that
    would be read as a number.
    """
    if value is None:
        return "null"
    # Before int, of which bool is a subclass.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float_label(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(row_label(item) for item in value)}]"
    if isinstance(value, dict):
        items = [f"{row_label(key)}: {row_label(item)}" for key, item in value.items()]
        return f"{{{', '.join(items)}}}"
    return _text_label(str(value))


# Cached, as a table asks for the labels of the same few values for each of its runs.
@lru_cache(maxsize=10_000)
def _text_label(text: str) -> str:
    """Return text as it is, or in quotes where YAML would read it as another value."""
    is_text = text != "" and isinstance(read_word(text), str)
    return text if is_text else f"'{text}'"


def _float_label(value: float) -> str:
    # A whole number has the label of the int: `lr: 1` and `lr: 1.0` are one row.
    if abs(value) <= LARGEST_EXACT and value == int(value):
        return str(int(value))
    # Six digits are easier to read, but do not tell 0.1234567 from 0.1234568.
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def given_label(name: Any) -> str:
    """Return the label that a user gave a row: text stays as it is, without quotes."""
    return name if isinstance(name, str) else row_label(name)


def value_label(key: str, value: Any) -> str:
    """Return the value of a config key as a row's label.

    Only arguments of classes take text and numbers alike. The text of any other key needs no
    quotes: a data set may be named 2020.
    """
    takes_any_type = ".arguments." in key
    # Empty text needs quotes anywhere, or the row would seem to have no label.
    if takes_any_type or value == "":
        return row_label(value)
    return given_label(value)


def find_key(configs: Mapping[str, Iterable[Mapping[str, Any]]]) -> str | None:
    """Return the one config key whose values are the labels of the rows.

    None where no key is, or several are.

    Args:
        configs: of each row's runs, by its label.
    """
    # A single value could be that of any key.
    if len(configs) < 2:
        return None
    candidates: set[str] | None = None
    for label, configs_of_row in configs.items():
        for config in configs_of_row:
            keys = config if candidates is None else candidates
            candidates = {key for key in keys if _has_label(config, key, label)}
    return candidates.pop() if candidates and len(candidates) == 1 else None


def _has_label(config: Mapping[str, Any], key: str, label: str) -> bool:
    return key in config and value_label(key, config[key]) == label


def find_label(name: Any, labels: Iterable[str]) -> str | None:
    """Return the label that a name stands for; None where it fits no label, or several.

    A config value and a label need not be written alike: `baseline: no` is the text "False" once
    YAML and the schema have read it, and `5e-4` is 0.0005.
    """
    text = given_label(name)
    distinct_labels = list(dict.fromkeys(labels))
    # The exact spelling wins, so that labels that differ in quotes alone can both be named.
    if text in distinct_labels:
        return text
    canonical = canonical_label(text)
    same_value = [label for label in distinct_labels if canonical_label(label) == canonical]
    return same_value[0] if len(same_value) == 1 else None


def canonical_label(label: str) -> str:
    """Return a label with each word in one spelling and without quotes, for comparison."""
    return WORD.sub(lambda match: _canonical_word(match[0].strip()), label)


@lru_cache(maxsize=10_000)
def _canonical_word(word: str) -> str:
    # Without quotes: the label '1' of the text is here the same as the label 1 of the number.
    if len(word) > 1 and word[0] == word[-1] == "'":
        word = word[1:-1]
    value = read_word(word)
    return word if isinstance(value, str) else row_label(value)


def read_word(word: str) -> Any:
    """Return the value of an unquoted word by YAML's rules: `yes` is true, `010` is 8, `~` is null.

    Two words are read otherwise: `None` is null, and `1e-4` is a number. A word with another
    meaning than a number, true, false and null is text.
    """
    if word == "None":  # how labels were written before they said `null`
        return None
    # Digits alone are left to YAML, which reads 010 as octal.
    if NUMBER.fullmatch(word) and not word.isdigit():
        return float(word)
    # Ask YAML itself for the type of the word, by its rules for plain (unquoted) scalars: the first
    # of the two flags says that the word is plain.
    loader = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, word, (True, False))
    construct = {
        "tag:yaml.org,2002:null": loader.construct_yaml_null,
        "tag:yaml.org,2002:bool": loader.construct_yaml_bool,
        "tag:yaml.org,2002:int": loader.construct_yaml_int,
        "tag:yaml.org,2002:float": loader.construct_yaml_float,
    }.get(tag)
    if construct is None or not word:
        return word
    try:
        return construct(yaml.ScalarNode(tag, word))
    except ValueError:  # such as a number of more digits than Python reads
        return word
