"""Suggest config keys and groups for a mistyped or foreign name."""

from augean.config.paths import config_dir
from augean.config.schema import Config
from augean.config.validation import walk_fields
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
}
"""Settings of Augean by the name that other programs use; `{}` stands for the value."""
SWEEPER_KEYS = (
    "params",
    "rows",
    "ablate",
    "n_trials",
    "timeout",
    "confirm",
    "final_seeds",
    "storage",
    "study_name",
    "custom_search_space",
)
"""Keys of `hydra.sweeper` that people look for elsewhere."""
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
    return any(f"{key}.".startswith(f"{word}.") for key, _, _ in walk_fields(Config(), ""))


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
    types = {field_key: item.type for field_key, item, _ in walk_fields(Config(), "")}
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
