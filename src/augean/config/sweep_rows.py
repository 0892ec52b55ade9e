"""Read `hydra.sweeper.rows` and `ablate`: which rows a sweep has, and what each one changes.

Both may come from a sweep file, where YAML gives each label and value a type, or from the command
line, where Hydra does. Labels are shown as the user wrote them wherever that is still known.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from augean.config.labels import given_label, read_word, row_label, value_label
from augean.config.override_text import override_text
from augean.config.paths import sweeps_dir
from augean.errors import ConfigError

ROWS = "hydra.sweeper.rows"
ABLATE = "hydra.sweeper.ablate"
STUDY_PREFIX = "study:"
"""How a row begins that stands for the winner of a study."""
BASE = "base"
"""Label of the row that the others of an ablation differ from."""
EXAMPLE = "optimizer.momentum=0"
"""An override for messages that show how one is written."""


def read_rows(
    rows: Any, ablate: Any, words: Mapping[Any, str] | None = None
) -> dict[str | None, list[str]]:
    """Return the overrides of each row, by its label.

    A sweep without rows has one row: its label is None and it adds no overrides.

    Args:
        rows: value of `hydra.sweeper.rows`.
        ablate: value of `hydra.sweeper.ablate`.
        words: labels as the sweep file writes them, by key, from `words_of_file`.

    Raises:
        ConfigError: for a value of another form, and for two rows of one label.
    """
    by_label: dict[str | None, list[str]] = {}
    entries = [*_listed_rows(rows, words or {}), *_ablation_rows(ablate)]
    for place, label, overrides in entries:
        if not label.strip():
            raise ConfigError(f"{ROWS}: {label!r} is no label; name the row, as in plain: []")
        if label in by_label:
            raise ConfigError(f"{place}: two rows have the label {label}; leave out or rename one")
        by_label[label] = overrides
    return by_label or {None: []}


def _listed_rows(rows: Any, words: Mapping[Any, str]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (place, label, overrides) of the entries of `rows`."""
    if rows is None:
        return
    if not isinstance(rows, dict):
        raise ConfigError(
            f"{ROWS}={row_label(rows)}: needs a label for each row, {{plain: [], new: [{EXAMPLE}]}}"
        )
    for key, items in rows.items():
        label = words.get(key) or given_label(key)
        place = f"{ROWS}.{label}"
        overrides = [_row_override(place, item) for item in _check_list(place, items, is_row=True)]
        yield place, label, overrides


def _row_override(place: str, item: Any) -> str:
    """Return an entry of a row, which must be an override, as on the command line.

    Raises:
        ConfigError: for anything else, with the override that may be meant.
    """
    # In YAML `- optimizer.momentum: 0` is a dictionary.
    if isinstance(item, dict) and item:
        lines = ", ".join(_lines_of_dict(place, item))
        raise ConfigError(f"{place}: write {lines}, with '=' in place of the colon")
    if isinstance(item, str):
        is_override = item.find("=") > 0 or item.startswith(("~", STUDY_PREFIX))
        if is_override:
            return item
        # A colon without a blank after it makes no dictionary, so the entry is text.
        key, colon, value = item.partition(":")
        if colon:
            raise ConfigError(f"{place}: write {key.strip()}={value.strip()} in place of {item}")
    raise ConfigError(f"{place}: write {EXAMPLE} or the like; {row_label(item)} sets no key")


def _lines_of_dict(place: str, node: Mapping[Any, Any], prefix: str = "") -> list[str]:
    """Return nested keys with values as overrides, for a message that shows how to write them."""
    lines = []
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            lines += _lines_of_dict(place, value, f"{name}.")
        else:
            lines.append(f"{name}={override_text(value, place)}")
    return lines


def _ablation_rows(ablate: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (place, label, overrides) of the base of an ablation and of each change."""
    if ablate is None or ablate == {}:
        return
    if not isinstance(ablate, dict):
        raise ConfigError(
            f"{ABLATE}={row_label(ablate)}: needs keys with values, {{schedule: [constant]}}"
        )
    # An ablation changes one thing at a time, so every row but the base has one override.
    yield ABLATE, BASE, []
    for key, values in ablate.items():
        if not isinstance(key, str) or not key.strip():
            raise ConfigError(f"{ABLATE}.{row_label(key)}: is not a key of the config")
        place = f"{ABLATE}.{key}"
        for value in _check_list(place, values, is_row=False):
            override = f"{key}={override_text(value, place)}"
            yield place, f"{key}={value_label(key, value)}", [override]


def _check_list(place: str, items: Any, *, is_row: bool) -> list[Any]:
    """Return the overrides of a row, or the values of an ablated key, which must be a list.

    Args:
        is_row: whether the items are overrides, and not values of a key.

    Raises:
        ConfigError: with the list that may be meant.
    """
    if isinstance(items, list):
        return items
    if isinstance(items, dict) and is_row:
        suggestion = ", ".join(_lines_of_dict(place, items))
    elif items is None and is_row:
        suggestion = ""
    else:
        suggestion = row_label(items)
    raise ConfigError(f"{place}: must be a list, [{suggestion}]")


def words_of_file(master: DictConfig) -> dict[Any, str]:
    """Return the labels of `rows` as the sweep file writes them.

    YAML reads `no` as false and `010` as 8, so that a composed config no longer has the words.

    Args:
        master: composed config of a sweep, with the node `hydra`.

    Returns:
        Each label by the key that YAML makes of it; empty where the file has no rows.

    Raises:
        ConfigError: for labels that are one key for YAML, which keeps the last row only.
    """
    words: dict[Any, str] = {}
    for node in _label_nodes(master):
        # A quoted label stays text; a plain one, without quotes, gets a type.
        is_plain = node.style is None
        key = read_word(node.value) if is_plain else node.value
        if key in words:
            raise ConfigError(
                f"{ROWS}: {words[key]} and {node.value} are one key for YAML, which would lose a"
                f' row; write them in quotes, "{words[key]}" and "{node.value}"'
            )
        words[key] = node.value
    return words


def _label_nodes(master: DictConfig) -> list[yaml.ScalarNode]:
    """Return the labels of `rows` in the sweep file, as they are before YAML gives them a type."""
    file = _sweep_file(master)
    if file is None:
        return []
    try:
        node = yaml.compose(file.read_text(), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return []  # Hydra has read the file; without its words the keys have to do
    # Go down from the document to hydra, then sweeper, then rows.
    for name in ROWS.split("."):
        node = _child(node, name)
    if not isinstance(node, yaml.MappingNode):
        return []
    labels = []
    for key, _ in node.value:
        # `<<: *other` puts the rows of another mapping here and is not a label itself.
        is_merge = key.tag == "tag:yaml.org,2002:merge"
        if isinstance(key, yaml.ScalarNode) and not is_merge:
            labels.append(key)
    return labels


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """Return the value of a key in a mapping; None where there is no such key, or no mapping."""
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if key.value == name:
            return value
    return None


def _sweep_file(master: DictConfig) -> Path | None:
    """Return the file that the sweep is named after, from the first folder that has it."""
    name = f"{master.hydra.job.config_name}.yaml"
    # In Hydra's order of search. Other sources than files are in packages or in memory.
    for source in master.hydra.runtime.config_sources:
        file = Path(source.path) / name
        if source.schema == "file" and file.is_file():
            return file
    # Augean's own sweeps come last, from memory: `augean.config.compose.register` reads them.
    own_file = sweeps_dir() / name
    return own_file if own_file.is_file() else None
