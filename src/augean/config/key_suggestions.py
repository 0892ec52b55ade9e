"""Suggest what to type in place of a mistyped or foreign key, group or word."""

import re
from dataclasses import fields
from pathlib import Path

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from augean.config.paths import config_dir, sweeps_dir, yaml_names
from augean.config.schema import CLASS_NODES
from augean.config.sweeper_schema import AugeanSweeperConfig
from augean.config.validation import schema_fields
from augean.suggestions import closest

FOREIGN_KEYS = {
    "learning_rate": "optimizer.lr={}",
    "wd": "regularization.weight_decay={}",
    "bs": "trainer.batch_size={}",
    "arch": "model={}",
    "net": "model={}",
    "gpu": "runtime.device=cuda:{}",
    "gpus": "runtime.workers={} (processes of a sweep, each on a GPU of its own)",
    "amp": "trainer.precision=bf16",
    "fp16": "trainer.precision=fp16",
    "sampler": "hydra/sweeper/sampler={}",
    "pruner": "hydra/sweeper/pruner={}",
}
"""Settings of Augean by the name that other programs use, or without the groups that they are in;
`{}` stands for the value."""
# The two that are taken out are Hydra's.
SWEEPER_KEYS = frozenset(item.name for item in fields(AugeanSweeperConfig)) - {
    "defaults",
    "_target_",
}
"""Keys of `hydra.sweeper`, which people look for elsewhere."""
MAX_SUGGESTIONS = 3
"""Most keys that one message suggests."""


def is_number(annotation: object) -> bool:
    """Return whether a field of this type takes a number."""
    return annotation in (int, float, int | None, float | None)


def group_names() -> list[str]:
    """Return the names of the config groups, such as `model`."""
    return sorted(path.name for path in config_dir().iterdir() if path.is_dir())


def is_known_key(word: str) -> bool:
    """Return whether a word is a group, a key or the beginning of one."""
    if word in group_names():
        return True
    # With a dot at the end of both, so that `model` begins `model.name` and `mod` does not.
    return any(f"{key}.".startswith(f"{word}.") for key in schema_fields())


def similar_keys(key: str, value: str = "") -> list[str]:
    """Return keys and groups that may be meant by an unknown key, at most `MAX_SUGGESTIONS`.

    Keys with the same last name come first. The most similar name follows: inside the node that the
    key names, else anywhere.

    Args:
        key: the unknown key.
        value: the value from the command line; a similar key that cannot take it is left out.
    """
    node, _, name = key.lower().rpartition(".")
    # Groups have no type: any value may be the name of an option.
    types = {field_key: item.type for field_key, item in schema_fields().items()}
    candidates = [*group_names(), *types]
    suggestions = [candidate for candidate in candidates if _last_name(candidate) == name]
    # `trainer.lr` has one answer: optimizer.lr. `data` needs both: dataset and runtime.data.
    if not (suggestions and node):
        for candidate in _most_similar(node, name, candidates):
            annotation = types.get(candidate)
            if not value or annotation is None or _takes(annotation, value):
                suggestions.append(candidate)
    # Each once, in this order.
    return list(dict.fromkeys(suggestions))[:MAX_SUGGESTIONS]


def settings_for_bare_word(word: str) -> list[str]:
    """Return what a word without `=` may stand for: an option, a sweep, a file or a key."""
    suggestions = []
    for group in group_names():
        if word in yaml_names(config_dir() / group):
            suggestions.append(f"{group}={word}")
    file = Path(word)
    if file.stem in yaml_names(sweeps_dir()):
        suggestions.append(f"-cn {file.stem}")
    if suggestions:
        return suggestions
    if file.suffix == ".yaml" and file.is_file():
        return [f"-cd {file.parent} -cn {file.stem}"]
    key = word.rstrip(":")
    return [f"{key}=<value>"] if is_known_key(key) else []


def settings_for_unknown_key(cause: OmegaConfBaseException, word: str) -> list[str]:
    """Return what to type in place of a word whose key does not exist, the value included.

    Args:
        cause: OmegaConf's exception for the key.
        word: the override that sets it; the key alone for one that a file sets.
    """
    key = str(cause.full_key)
    path, sign, value = word.lstrip("+~").partition("=")
    # sampler=tpe chooses an option of a group; sampler.seed=1 sets a key.
    if key in FOREIGN_KEYS and path == key:
        return [FOREIGN_KEYS[key].format(value)]
    # The value is a dictionary with the key, as in optimizer={lrr:0.1}.
    is_in_value = key.startswith(f"{path}.")
    if is_in_value and path in [f"{node}.arguments" for node in CLASS_NODES]:
        return [*_settings_with_similar_argument(cause, path, value), _added(path, value)]
    if is_in_value:
        return _names_for_unknown_key(cause, "")
    settings = []
    for name in _names_for_unknown_key(cause, value):
        # optimiser.lr=0.1: optimiser is the unknown key, and the rest of the path stays.
        is_node = name in group_names() or key in SWEEPER_KEYS
        rest = path.removeprefix(key) if is_node else ""
        settings.append(f"{name}{rest}{sign}{value}")
    # Nothing is similar: model.foo=1 may be an argument of the model's class.
    node, _, argument = key.partition(".")
    if not settings and node in CLASS_NODES and argument and sign:
        if argument.startswith("arguments."):
            settings = _settings_with_similar_argument(cause, path, value)
        argument = argument.removeprefix("arguments.")
        settings.append(_added(f"{node}.arguments.{argument}", value))
    return settings


def _added(key: str, value: str) -> str:
    """Return the override that adds a key, in words for a suggestion."""
    return f"++{key}={value} (an argument of its class)"


def _settings_with_similar_argument(
    cause: OmegaConfBaseException, path: str, value: str
) -> list[str]:
    """Return an override with the argument that the config has and that is most similar, if any.

    Args:
        cause: OmegaConf's exception for a key below `<node>.arguments`.
        path: the key that the override sets: this one, or `<node>.arguments` with a dictionary.
    """
    key = str(cause.full_key)
    name = str(cause.key)
    siblings = cause.parent_node
    if not isinstance(siblings, DictConfig):
        return []
    settings = []
    for similar in closest(name, [str(sibling) for sibling in siblings]):
        if path.startswith(key):
            rest = path.removeprefix(key)
            settings.append(f"{key.removesuffix(name)}{similar}{rest}={value}")
        else:
            renamed = re.sub(rf"\b{re.escape(name)}\b", similar, value)
            settings.append(f"{path}={renamed}")
    return settings


def _names_for_unknown_key(cause: OmegaConfBaseException, value: str) -> list[str]:
    """Return the names of keys that may be meant by an unknown key."""
    key = str(cause.full_key)
    if key in SWEEPER_KEYS:
        return [f"hydra.sweeper.{key}"]
    # `schema_fields` has none of Hydra's keys, and OmegaConf itself suggests keys of the same node.
    if key.startswith(("hydra", "runtime.table.")):
        match = re.search(r"Did you mean: '(\w+)'", str(cause))
        return [key.removesuffix(str(cause.key)) + match[1]] if match else []
    return similar_keys(key, value)


def _most_similar(node: str, name: str, candidates: list[str]) -> list[str]:
    """Return the candidates whose last name is most similar, inside `node` where it has keys."""
    in_node = []
    if node:
        in_node = [candidate for candidate in candidates if candidate.startswith(f"{node}.")]
    # Where several keys have one last name, the last of them stands for all.
    by_last_name = {_last_name(candidate): candidate for candidate in in_node or candidates}
    return [by_last_name[last_name] for last_name in closest(name, list(by_last_name))]


def _last_name(key: str) -> str:
    return key.rpartition(".")[2]


def _takes(annotation: object, value: str) -> bool:
    """Return whether a key of this type may take the value, judged by its first character."""
    if annotation is bool:
        return value.lower() in ("true", "false")
    # 1e-3, -1 and .5 may be numbers; relu cannot.
    return not is_number(annotation) or not value[:1].isalpha()
