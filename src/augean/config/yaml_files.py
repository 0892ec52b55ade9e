"""Parse YAML that may come from a stranger: no code is run, and few values are built."""

from collections.abc import Mapping
from typing import Any

import yaml

MAX_VALUES = 20_000
"""Most values that a file may stand for; a config has about 100."""


def parse_yaml(content: bytes) -> Any:
    """Return what a YAML file says, as plain values.

    Raises:
        ValueError: when the content is not YAML, is nested too deep, or stands for too many values:
            with aliases of aliases a few lines can stand for billions.
    """
    # As `yaml.safe_load` does it, with a count between its two steps, parsing and building.
    loader = None
    try:
        loader = yaml.SafeLoader(content)
        node = loader.get_single_node()
        if node is None:
            return None
        # Counted before the values are built, as `<<` copies whole mappings while they are.
        if _count_values(node, {}) > MAX_VALUES:
            raise ValueError(f"it stands for more than {MAX_VALUES:,} values")
        return loader.construct_document(node)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    finally:
        if loader is not None:
            loader.dispose()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values with dotted keys; an empty mapping has none."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _count_values(node: yaml.Node, counts: dict[int, float]) -> float:
    """Count the values in a node, itself included, as often as aliases repeat them.

    Args:
        counts: the number of each node that was counted before, by `id`: an alias is the same node
            as the one that it repeats.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counts:
        # The value while its children are counted: a node that holds itself has no end.
        counts[id(node)] = float("inf")
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        counts[id(node)] = 1 + sum(_count_values(child, counts) for child in children)
    return counts[id(node)]
