"""Explain the exceptions of Hydra and OmegaConf in words that say what to type instead."""

import re
from collections.abc import Sequence
from dataclasses import MISSING
from pathlib import Path

import yaml
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from augean.config.command_line import parse_options
from augean.config.key_suggestions import (
    CLASS_NODES,
    EXAMPLES,
    KINDS,
    SWEEPER_KEYS,
    USUAL,
    group_names,
    is_known_key,
    is_number,
    similar_keys,
)
from augean.config.paths import config_dir, sweeps_dir, yaml_names
from augean.config.schema import Config
from augean.config.validation import walk_fields
from augean.errors import AugeanError, ConfigError
from augean.suggestions import did_you_mean, list_choices
from augean.system_errors import WRITABLE, explain_system_error


def explain_error(error: BaseException, words: Sequence[str]) -> str | None:
    """The message for an exception that a command line caused; None for one that is no user's
    fault.
    """
    from hydra.errors import HydraException  # here, as who trains needs no Hydra

    cause = error.__cause__
    if isinstance(error, ConfigError) and isinstance(cause, ConfigKeyError | ConfigAttributeError):
        return _unknown_key(cause, words)
    if isinstance(error, AugeanError):
        return str(error)
    if isinstance(error, HydraException):
        return _hydra(error, words)
    if isinstance(error, ValueError) and "Config group override must be a string" in str(error):
        return _no_option(words)
    if isinstance(
        error, ValueError | OmegaConfBaseException
    ) or "incompatible container types" in str(error):
        return str(error).split("\n")[0]
    if isinstance(error, yaml.YAMLError):
        return f"no valid YAML: {' '.join(str(error).split())}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; {WRITABLE}"
    return explain_system_error(error)


def _hydra(error: BaseException, words: Sequence[str]) -> str:
    text, cause = str(error), error.__cause__ or error.__context__
    missing, options = getattr(error, "missing_cfg_file", None), getattr(error, "options", None)
    if missing == "hydra/launcher/ray":
        return "launcher=ray needs Ray and its Hydra launcher: pip install 'augean[ray]'"
    if missing and options:
        group, _, option = missing.rpartition("/")
        return f"{group}={option}: no such option{list_choices(option, options, f'{group}=')}"
    if hasattr(error, "missing_cfg_file"):
        return _no_primary(missing, words)
    if hasattr(error, "override"):
        return _unreadable(str(error.override))
    if isinstance(cause, ConfigKeyError | ConfigAttributeError):
        return _unknown_key(cause, words)
    if isinstance(cause, ValidationError) and not str(cause.full_key).startswith("hydra."):
        key = str(cause.full_key).split("[")[0]
        return _wrong_type(_typed(key, words), key)
    if found := re.match(r"Ambiguous value for argument '(.*)'", text):
        return (
            f"{found[1]}: several values are a sweep: add -m, as in -m {found[1]}; one list is"
            " written key=[a,b]"
        )
    if found := re.match(r"(\S+) appears more than once", text):
        word = _typed(found[1], words)
        return (
            f"{word}: the config has a {found[1]} already; to choose another leave the + out:"
            f" {word.lstrip('+')}"
        )
    if found := re.match(r"Could not delete from config. '(.*)' does not exist", text):
        return f"~{found[1]}: there is no key {found[1]}{did_you_mean(similar_keys(found[1]))}"
    if found := re.match(r"In '(.*)': Invalid Defaults List override '(\S+): ", text):
        return (
            f"-cn {found[1]}: its defaults override {found[2]}, which is no"
            f" group{list_choices(found[2], group_names(), '')}"
        )
    lines = [
        line
        for line in text.split("Config search path")[0].splitlines()
        if line and "To append" not in line
    ]
    return "\n".join([*lines, *str(cause or "").splitlines()[:1]])


def _no_primary(missing: str | None, words: Sequence[str]) -> str:
    told = parse_options(words)
    if told.config_path:
        return (
            f"-cp {told.config_path}:"
            f" {f'holds no {missing}.yaml' if missing else 'is no folder with a config'}; it takes"
            " the absolute path of a run's directory; sweep files of your own start by -cd"
            " <folder> -cn <name>"
        )
    if told.config_name != missing:
        return f"{missing}: no such config file; the defaults of -cn {told.config_name} name it"
    names = sorted(
        {*yaml_names(sweeps_dir()), *(yaml_names(Path(told.config_dir)) if told.config_dir else [])}
    )
    return f"-cn {missing}: no such sweep{list_choices(str(missing), names, '-cn ')}"


def _no_option(words: Sequence[str]) -> str:
    """A number, null or the like where a group takes the name of an option."""
    for key, value in (word.split(",")[0].partition("=")[::2] for word in words):
        if key in group_names() and re.fullmatch(
            r"[\d.e+-]+|null|true|false|", value, re.IGNORECASE
        ):
            names = list_choices(value, yaml_names(config_dir() / key), f"{key}=")
            keys = [
                name
                for name, item, _ in walk_fields(Config(), "")
                if name.startswith(f"{key}.")
                if is_number(item.type)
            ]
            number = (
                f". A number goes to its key: {keys[0]}={value}"
                if keys and value[:1].isdigit()
                else ""
            )
            return f"{key}={value}: takes the name of an option{names}{number}"
    return "a group takes the name of an option, such as width=w64"


def _unreadable(word: str) -> str:
    """An override that Hydra's grammar refuses."""
    key, sign, value = word.partition("=")
    if sign and key.strip() != key:
        return f"{word}: no blanks around =: {key.strip()}={value.strip()}"
    if value != value.strip(",") or ",," in value:
        return (
            f"{word}: several values are written with commas alone, without blanks or gaps: -m"
            f" {key}=a,b"
        )
    if (pair := re.fullmatch(r"([\w./]+)(?:==|:=?)(.+)", word)) and is_known_key(pair[1]):
        return f"{word}: is not key=value; did you mean {pair[1]}={pair[2]}?"
    if sign and key:
        return (
            f"{word}: cannot be read; a value with blanks or signs takes two pairs of quotes: "
            f"""'{key}="{value}"'"""
        )
    meant = [
        f"{group}={word}" for group in group_names() if word in yaml_names(config_dir() / group)
    ]
    file = Path(word)
    meant += [f"-cn {file.stem}"] if file.stem in yaml_names(sweeps_dir()) else []
    if not meant and file.suffix == ".yaml" and file.is_file():
        meant = [f"-cd {file.parent} -cn {file.stem}"]
    if not meant and is_known_key(word.rstrip(":")):
        meant = [f"{word.rstrip(':')}=<value>"]
    hint = "" if meant else """; a value with blanks takes two pairs of quotes: 'key="two words"'"""
    return f"{word}: is not key=value (no blanks around =){did_you_mean(meant)}{hint}"


def _unknown_key(cause: OmegaConfBaseException, words: Sequence[str]) -> str:
    key = str(cause.full_key)
    word = _typed(key, words)
    written, sign, value = word.lstrip("+~").partition("=")
    if is_known_key(
        key
    ):  # what is composed has it not: a sweep file that does not begin with Augean's config
        return (
            f"{word}: there is no key {key}{_place(words)}; defaults begin with config, as in"
            " [config, _self_]"
        )
    hint = re.search(r"Did you mean: '(\w+)'", str(cause))
    near = [key.removesuffix(str(cause.key)) + hint[1]] if hint else []
    near = near if key.startswith(("hydra", "runtime.table.")) else similar_keys(key, value)
    near = [f"hydra.sweeper.{key}"] if key in SWEEPER_KEYS else near
    meant = [
        name + written.removeprefix(key) * (name in group_names()) + sign + value for name in near
    ]
    meant = [USUAL[key].format(value)] if key in USUAL else meant
    node, _, rest = key.partition(".")
    if not meant and node in CLASS_NODES and rest and sign:
        meant.append(
            f"++{node}.arguments.{rest.removeprefix('arguments.')}={value} (an argument of its"
            " class)"
        )
    place = "" if sign else _place(words)
    return (
        f"{word}: there is no key"
        f" {key}{place}{did_you_mean(meant) or '; `python train.py --cfg job` prints all keys'}"
    )


def _wrong_type(word: str, key: str) -> str:
    for name, item, _ in walk_fields(Config(), ""):
        if name == key:
            kind = re.split(r"\W", str(getattr(item.type, "__name__", item.type)))[0]
            default = (
                item.default_factory() if item.default_factory is not MISSING else item.default
            )
            shown = (
                EXAMPLES.get(kind, "")
                if default in (None, "???", {})
                else str(default).replace(" ", "").lower()
            )
            shown = f"[{word.partition('=')[2]}]" if default == [] else shown
            return (
                f"{word}: must be"
                f" {KINDS.get(kind, kind)}{f', such as {key}={shown}' if shown else ''}"
            )
    keys = [name for name, *_ in walk_fields(Config(), "") if name.startswith(f"{key}.")]
    return f"{word}: {key} takes no value itself; its keys are {', '.join(keys)}"


def _typed(key: str, words: Sequence[str]) -> str:
    """The word of the command line that sets a key, or one below it; the key where none does."""
    keys = {f"{word.lstrip('+~').partition('=')[0]}.": word for word in words}
    return next((word for name, word in reversed(keys.items()) if name.startswith(f"{key}.")), key)


def _place(words: Sequence[str]) -> str:
    """Where a key stands that the command line does not name: in its sweep file."""
    name = parse_options(words).config_name
    return f" in {name}.yaml" if name else ""
