"""Read `hydra.sweeper.rows` and `ablate`: which rows a sweep has, and what each one changes."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from augean.config.labels import given_label, read_word, row_label, value_label
from augean.config.override_text import override_text
from augean.errors import ConfigError

ROWS = "hydra.sweeper.rows"
ABLATE = "hydra.sweeper.ablate"
STUDY_PREFIX = "study:"
"""How a row begins that stands for the winner of a study."""
BASE = "base"
"""Label of the row that the others of an ablation differ from."""
EXAMPLE = "optimizer.momentum=0"


def read_rows(
    rows: Any, ablate: Any, words: Mapping[Any, str] | None = None
) -> dict[str | None, list[str]]:
    """Return the rows as label to overrides; without any there is one row, which adds nothing and
    has no label of its own.

    Args:
        rows: value of `hydra.sweeper.rows`.
        ablate: value of `hydra.sweeper.ablate`.
        words: labels as the sweep file writes them, by key, from `words_of_file`.

    Raises:
        ConfigError: for a value of another form, and for two rows of one label.
    """
    by_label: dict[str | None, list[str]] = {}
    for place, label, overrides in [*_listed_rows(rows, words or {}), *_ablation_rows(ablate)]:
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
        overrides = [_row_override(place, item) for item in _check_list(place, items)]
        yield place, label, overrides


def _row_override(place: str, item: Any) -> str:
    """Return an entry of a row, which is an override already."""
    if isinstance(item, dict) and item:
        lines = ", ".join(_lines_of_dict(place, item))
        raise ConfigError(f"{place}: write {lines}, with '=' in place of the colon")
    if isinstance(item, str):
        is_override = item.find("=") > 0 or item.startswith(("~", STUDY_PREFIX))
        if is_override:
            return item
        key, colon, value = item.partition(":")
        if colon:
            raise ConfigError(f"{place}: write {key.strip()}={value.strip()} in place of {item}")
    raise ConfigError(f"{place}: write {EXAMPLE} or the like; {row_label(item)} sets no key")


def _lines_of_dict(place: str, node: Mapping[Any, Any], prefix: str = "") -> list[str]:
    """Return the overrides that keys with values are meant for."""
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
    yield ABLATE, BASE, []
    for key, values in ablate.items():
        if not isinstance(key, str) or not key.strip():
            raise ConfigError(f"{ABLATE}.{row_label(key)}: is not a key of the config")
        place = f"{ABLATE}.{key}"
        for value in _check_list(place, values):
            override = f"{key}={override_text(value, place)}"
            yield place, f"{key}={value_label(key, value)}", [override]


def _check_list(place: str, items: Any) -> list[Any]:
    if isinstance(items, list):
        return items
    if isinstance(items, dict) and place.startswith(ROWS):
        meant = ", ".join(_lines_of_dict(place, items))
    elif items is None:
        meant = "" if place.startswith(ROWS) else "null"
    else:
        meant = row_label(items)
    raise ConfigError(f"{place}: must be a list, [{meant}]")


def words_of_file(master: DictConfig) -> dict[Any, str]:
    """Return the labels of `rows` as the sweep file writes them, by the keys that YAML makes of
    them; empty where the file has none.

    YAML reads `no` as false and `010` as 8, so that a composed config no longer has the words.

    Args:
        master: composed config of a sweep, with the node `hydra`.

    Raises:
        ConfigError: for labels that are one key for YAML, which keeps the last row only.
    """
    words: dict[Any, str] = {}
    for node in _label_nodes(master):
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
    for name in ROWS.split("."):
        children = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for key, value in children if key.value == name), None)
    if not isinstance(node, yaml.MappingNode):
        return []
    labels = []
    for key, _ in node.value:
        is_merge = key.tag == "tag:yaml.org,2002:merge"  # <<: *other
        if isinstance(key, yaml.ScalarNode) and not is_merge:
            labels.append(key)
    return labels


def _sweep_file(master: DictConfig) -> Path | None:
    """Return the file that the sweep is named after, from the first folder that has it."""
    for source in master.hydra.runtime.config_sources:
        file = Path(source.path) / f"{master.hydra.job.config_name}.yaml"
        if source.schema == "file" and file.is_file():
            return file
    return None
