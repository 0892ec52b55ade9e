"""Compute the run id: a digest of all that a run's results depend on.

docs/internals/architecture.md lists what enters it.

The ids of existing runs must never change (tests/golden_ids.json). So whatever is hashed here, in
which form and under which key, stays.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from augean.config.code_digest import OwnCode, file_digest, module_code
from augean.config.schema import TRUSTED_PACKAGES, Config, RuntimeConfig
from augean.config.validation import class_targets, schema_fields
from augean.errors import ConfigError

SCHEMA = 1
"""Raised when the meaning of a config key changes."""
CORE = 1
"""Raised when Augean's own mathematics changes, which is when a golden loss curve changes."""
MAX_NAME_LENGTH = 255
"""Most characters in the name of a file or folder, on the file systems in use."""
KEY_TYPES = ("int ", "float ", "bool ", "bytes ", "NoneType ", "str ")
"""How the hashed form of a dictionary's key begins that is no text, and of text that begins so."""


def plain_value(value: Any, *, floats: bool) -> Any:
    """Return a value as it is hashed.

    Args:
        floats: convert numbers to floats, so that 1 and 1.0 are one value. True for float fields
            and free arguments.
    """
    if isinstance(value, dict):
        return {key_text(name): plain_value(item, floats=floats) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item, floats=floats) for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if floats and is_number:
        # Keep whole numbers that a float cannot hold exactly: two of them could become one value.
        # The conversion overflows from 1024 bits on, so their length is tested before it.
        if isinstance(value, int) and (value.bit_length() > 1000 or float(value) != value):
            return value
        return float(value) + 0.0  # -0.0 and 0.0 are one value
    return value


def key_text(key: Any) -> str:
    """Return a dictionary's key as it is hashed: the number 1 is another key than the text "1"."""
    # Text that looks like another type's key says that it is text.
    if isinstance(key, str) and not key.startswith(KEY_TYPES):
        return key
    return f"{type(key).__name__} {key}"


def _ordered(value: Any) -> Any:
    """Return an argument's value with each dictionary as a list of its pairs.

    JSON with sorted keys would lose their order. A class may build layers in the order of a
    dictionary, so two orders are two networks.
    """
    if isinstance(value, dict):
        return {"ordered": [[key_text(key), _ordered(item)] for key, item in value.items()]}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return value


def canonical(node: Any) -> dict[str, Any]:
    """Return a node of the config (a dataclass) as it is hashed.

    `runtime` is left out, and so is each key whose value is its neutral default. So a new key, with
    a neutral default, changes no existing id.
    """
    hints = get_type_hints(type(node))
    result: dict[str, Any] = {}
    for item in fields(node):
        value = getattr(node, item.name)
        # What a value names by its content is hashed as that, see `run_id`.
        if isinstance(value, RuntimeConfig) or item.metadata.get("by_content"):
            continue
        if is_dataclass(value):
            if inner := canonical(value):
                result[item.name] = inner
        elif value != _neutral_default(item):
            # The text of the type also shows the float in `list[float]` and `float | None`. A
            # choice named "float" would do no harm: plain_value leaves text as it is.
            hint = str(hints[item.name])
            if isinstance(value, dict):
                # Keyword arguments have no order for Python; dictionaries inside them have one.
                value = {name: _ordered(argument) for name, argument in value.items()}
            result[item.name] = plain_value(value, floats="float" in hint or "Any" in hint)
    return result


@cache
def neutral_values() -> dict[str, Any]:
    """Return the neutral default of every key of the config, by its dotted name."""
    return {key: _neutral_default(item) for key, item in schema_fields().items()}


def _neutral_default(item: "Field[Any]") -> Any:
    # See `augean.config.schema.bounded`.
    if "neutral" in item.metadata:
        return item.metadata["neutral"]
    if item.default_factory is not MISSING:
        return item.default_factory()
    return item.default


def run_id(
    config: Config, data_digest: str, loop: str | None = None, weights: str | None = None
) -> str:
    """Return the run's address: 10 hex digits of a digest of its config, its data and its code.

    Args:
        config: a checked config.
        data_digest: content digest of the data set, see `augean.datasets.base.Source.digest`.
        loop: digest of the code of a custom loop, see `augean.runs.custom_loop`; None for
            Augean's own.
        weights: digest of the file that `model.weights` names; None for random weights.

    Raises:
        ConfigError: when the source of a class from elsewhere, or one of `code_files`, cannot be
            found or read.
    """
    digest_by_class = {target: code.digest for target, code in _own_code(config).items()}
    parts = {
        "schema": SCHEMA,
        "core": CORE,
        "config": canonical(config),
        "data": data_digest,
        "code": digest_by_class,
    }
    # Only where they are used: a key with an empty value would change the ids of all other runs.
    if config.code_files:
        parts["files"] = _listed_files(config)
    if loop is not None:
        parts["loop"] = loop
    if weights is not None:
        parts["weights"] = weights
    return short_hash(parts)


def _own_code(config: Config) -> dict[str, OwnCode]:
    """Return the code of each class in the config that is not from a trusted package, by class."""
    code = {}
    for target in class_targets(config).values():
        if target.split(".")[0] not in TRUSTED_PACKAGES:
            code[target] = module_code(target.rpartition(".")[0])
    return code


def _listed_files(config: Config) -> dict[str, str]:
    """Return the digest of the content of each of the config's `code_files`, by its path.

    Raises:
        ConfigError: when one cannot be read.
    """
    digests = {}
    for path in config.code_files:
        try:
            digests[path] = file_digest(Path(path))
        except OSError as error:
            raise ConfigError(
                f"code_files: cannot read {path} ({error.strerror}); give its path from the folder"
                " where the command is started"
            ) from error
    return digests


def code_digests(config: Config) -> dict[str, str]:
    """Return the digests of the user's files that are part of the run id, by path.

    These are the imported Python files and those of `code_files`.

    Raises:
        ConfigError: as `run_id` does.
    """
    digests = _listed_files(config)
    for code in _own_code(config).values():
        digests |= code.files
    return digests


def code_identity(config: Config) -> dict[str, str]:
    """Return the digests of the user's code that are part of the run id, by what has each.

    Raises:
        ConfigError: as `run_id` does.
    """
    digests = {f"code of {target}": code.digest for target, code in _own_code(config).items()}
    for path, digest in _listed_files(config).items():
        digests[f"content of {path}"] = digest
    return digests


def short_hash(content: Mapping[str, Any]) -> str:
    """Return 10 hex digits of sha256 over canonical JSON."""
    # One text for equal content: sorted keys, no blanks. NaN has no JSON form and is refused.
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def directory_name(config: Config, run_id: str) -> str:
    """Return the name of the run's directory: four names, width, seed and id, with hyphens between.

    Where it would be longer than a file system takes, the names are cut, the id never.
    """
    names = [
        config.dataset.name,
        config.model.name,
        config.activation.name,
        config.optimizer.name,
    ]
    channels = config.width.channels
    width = "cnative" if channels is None else f"c{channels}"
    numbers = [width, f"s{config.seed}", run_id]
    name = "-".join([*names, *numbers])
    if len(name) <= MAX_NAME_LENGTH:
        return name
    # Each name gets an equal share of the characters that numbers and hyphens leave.
    num_hyphens = len(names)  # one after each name; those between the numbers are counted there
    share = (MAX_NAME_LENGTH - len("-".join(numbers)) - num_hyphens) // len(names)
    return "-".join([*(part[:share] for part in names), *numbers])
