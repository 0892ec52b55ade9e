"""Suggest config keys and groups for a mistyped or foreign name."""

from augean.config.paths import config_dir
from augean.config.schema import Config
from augean.config.validation import walk_fields
from augean.suggestions import closest

KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "list": "a list",
    "dict": "keys with values",
    "str": "text",
}
"""How the types of the schema are called, the first that an annotation begins with."""
EXAMPLES = {"int": "10", "float": "0.1", "dict": "{key:1}"}
"""Values for keys whose default shows nothing."""
CLASS_NODES = ("model", "activation", "optimizer", "dataset")
"""Nodes whose `arguments` are those of a class, which the schema does not know."""
USUAL = {
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
"""What other programs call a key, and how it is written here."""
SWEEPER_KEYS = ("params", "rows", "ablate", "n_trials", "final_seeds", "storage", "study_name")
"""Keys of a sweep that people look for elsewhere."""


def is_number(annotation: object) -> bool:
    return annotation in (int, float, int | None, float | None)


def _takes(annotation: object, value: str) -> bool:
    """Whether a key of this type may take a value that begins so."""
    if annotation is bool:
        return value.lower() in ("true", "false")
    return not is_number(annotation) or not value[:1].isalpha()


def is_known_key(word: str) -> bool:
    """Whether a word is a group, a key or the beginning of one."""
    return word in group_names() or any(
        f"{name}.".startswith(f"{word}.") for name, *_ in walk_fields(Config(), "")
    )


def group_names() -> list[str]:
    return sorted(path.name for path in config_dir().iterdir() if path.is_dir())


def similar_keys(key: str, value: str = "") -> list[str]:
    """Keys and groups that someone may have meant: of the same last name, else a similar one that
    takes the value.
    """
    node, _, last = key.lower().rpartition(".")
    types = {name: item.type for name, item, _ in walk_fields(Config(), "")}
    keys = [*group_names(), *types]
    inside = (
        {name.rpartition(".")[2]: name for name in keys if name.startswith(f"{node}.")}
        if node
        else {}
    )
    same = [name for name in keys if name.rpartition(".")[2] == last]
    leaves = inside or {name.rpartition(".")[2]: name for name in keys}
    near = [] if same and node else [leaves[leaf] for leaf in closest(last, list(leaves))]
    near = [name for name in near if not value or name not in types or _takes(types[name], value)]
    return list(dict.fromkeys([*same, *near]))[:3]
