"""Parse YAML that may come from a stranger."""

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
    loader = None
    try:
        loader = yaml.SafeLoader(content)
        node = loader.get_single_node()
        if node is None:
            return None
        # Before the values are made, as merging mappings (`<<`) repeats them there already.
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


def _count_values(node: yaml.Node, counts: dict[int, float]) -> float:
    """Count a node with all that is in it, as often as aliases repeat it.

    Args:
        counts: of the nodes that were counted before, by their identity: an alias is the same node
            as the one that it repeats.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counts:
        # Until it is counted: a node that holds itself has no end.
        counts[id(node)] = float("inf")
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        counts[id(node)] = 1 + sum(_count_values(child, counts) for child in children)
    return counts[id(node)]
