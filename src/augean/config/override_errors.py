"""Explain the exceptions of Hydra and OmegaConf in words that say what to type instead."""

import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    ConfigTypeError,
    InterpolationResolutionError,
    KeyValidationError,
    OmegaConfBaseException,
    ValidationError,
)

from augean.config.command_line import parse_options
from augean.config.key_suggestions import (
    group_names,
    is_known_key,
    is_number,
    settings_for_bare_word,
    settings_for_unknown_key,
    similar_keys,
)
from augean.config.paths import config_dir, sweeps_dir, yaml_names
from augean.config.schema import RuntimeConfig
from augean.config.validation import schema_fields
from augean.config.value_hints import (
    deletion_message,
    describe_values,
    function_message,
    hydra_value_message,
    long_number_message,
    several_values_message,
    sweep_hint,
)
from augean.errors import AugeanError, ConfigError, UsageError
from augean.override_key import outputs_override, override_key
from augean.suggestions import did_you_mean, list_choices
from augean.system_errors import WRITABLE, explain_system_error

CONFIG_LIBRARIES = ("hydra", "omegaconf", "yaml")
"""Packages whose ValueErrors mean that a config or an override cannot be read."""


def explain_error(
    error: BaseException, words: Sequence[str], *, takes_sweep: bool = True
) -> str | None:
    """Return the message for an exception that a command line caused.

    Args:
        words: the command line, without the program's name.
        takes_sweep: whether the words may have `-m` and keys with several values.

    Returns:
        None for an exception that is a fault of the program, which needs its traceback.
    """
    from hydra.errors import HydraException  # here, as a run is trained without Hydra

    cause = error.__cause__
    text = str(error)
    # First: augean.config.validation refused an unknown key, but only words show what was typed.
    if isinstance(error, ConfigError) and isinstance(cause, ConfigKeyError | ConfigAttributeError):
        return _unknown_key(cause, words)
    if isinstance(error, AugeanError):
        return text
    if isinstance(error, HydraException):
        return _explain_hydra(error, words, takes_sweep)
    if isinstance(error, ValueError) and "Config group override must be a string" in text:
        return _not_an_option(words)
    if isinstance(error, KeyValidationError | InterpolationResolutionError):
        return _explain_key(error)
    # From here on exceptions that were not raised by Hydra itself.
    if "int too large to convert to float" in text:
        return long_number_message(words)
    if isinstance(error, UnicodeDecodeError) and _is_raised_by_config_library(error):
        return f"a file of the config is not UTF-8 ({text}); save it in that encoding"
    # OmegaConf raises a TypeError where a list and a dictionary are merged. A ValueError of another
    # place than these libraries is a fault of Augean or of the user's own code.
    is_unreadable = isinstance(error, ValueError) and _is_raised_by_config_library(error)
    is_config_mistake = is_unreadable or isinstance(error, OmegaConfBaseException)
    if is_config_mistake or "incompatible container types" in text:
        return text.split("\n")[0]
    if match := re.fullmatch(r"Unknown plugin class : '(.*)'", text):
        return f"hydra: {match[1]} is not a sweeper or launcher; leave its _target_ out"
    if isinstance(error, yaml.YAMLError):
        return f"no valid YAML: {' '.join(text.split())}"
    explanation = explain_system_error(error)
    if explanation is None and isinstance(error, OSError) and error.filename:
        return _explain_system(error, words)
    return explanation


def _explain_system(error: OSError, words: Sequence[str]) -> str:
    """Explain an exception of the operating system by the file that it names."""
    file = Path(str(error.filename))
    outputs = Path(outputs_override(words) or RuntimeConfig().outputs)
    # A folder that cannot be made has many reasons, such as /proc; a file in it is another matter.
    hint = f"; {WRITABLE}" if file in (outputs, *outputs.parents) else ""
    return f"{file}: {error.strerror}{hint}"


def _is_raised_by_config_library(error: BaseException) -> bool:
    """Return whether Hydra, OmegaConf or PyYAML has raised an exception, or a function of Python
    that they called.
    """
    packages = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in sys.stdlib_module_names:
            packages.append(package)
    return bool(packages) and packages[-1] in CONFIG_LIBRARIES


def _explain_hydra(error: BaseException, words: Sequence[str], takes_sweep: bool) -> str:
    """Explain an exception of Hydra by its attributes and its cause, else by its text."""
    cause = error.__cause__ or error.__context__
    # Attributes of MissingConfigException and of OverrideParseException.
    if hasattr(error, "missing_cfg_file"):
        return _missing_file(error.missing_cfg_file, getattr(error, "options", None), words)
    if hasattr(error, "override"):
        return _unreadable_override(str(error.override), cause, takes_sweep)
    if isinstance(cause, ConfigKeyError | ConfigAttributeError):
        return _unknown_key(cause, words)
    if isinstance(cause, KeyValidationError | InterpolationResolutionError):
        return _explain_key(cause)
    if isinstance(cause, ConfigTypeError) and "incompatible container types" in str(cause):
        return (
            f"a list stands where keys with values belong, or the other way round"
            f"{_sweep_file_text(words)}; write key: value, without '-' and brackets"
        )
    if isinstance(cause, ValidationError):
        # Hydra's own keys are not in Augean's schema.
        if str(cause.full_key).startswith("hydra."):
            return hydra_value_message(cause, _word_for(str(cause.full_key), words))
        return _wrong_value(cause, words, takes_sweep)
    explanation = _explain_hydra_text(str(error), words, takes_sweep)
    if explanation is not None:
        return explanation
    # No explanation here: Hydra's own lines, without its search path and the hint at its `+`
    # syntax, which would add a key that nothing reads.
    lines = []
    for line in str(error).split("Config search path")[0].splitlines():
        if line and "To append" not in line:
            lines.append(line)
    lines += str(cause or "").splitlines()[:1]
    return "\n".join(lines)


def _explain_key(error: OmegaConfBaseException) -> str:
    """Explain a key that OmegaConf cannot use, or an interpolation that it cannot resolve."""
    place = f"{error.full_key}: " if error.full_key else ""
    hint = ""
    if isinstance(error, KeyValidationError):
        hint = f"; write {error.full_key}=..., or in a file the key in quotes"
    # The lines after the first name OmegaConf's types and nodes.
    first_line = str(error).splitlines()[0]
    return f"{place}{first_line}{hint}"


def _explain_hydra_text(text: str, words: Sequence[str], takes_sweep: bool) -> str | None:
    """Explain the messages of Hydra 1.4 whose exceptions have no attributes to read.

    Returns:
        None for any other message.
    """
    # key=a,b without -m
    if match := re.match(r"Ambiguous value for argument '(.*)'", text):
        prints_config = takes_sweep and parse_options(words).cfg is not None
        return several_values_message(match[1], takes_sweep, prints_config=prints_config)
    # +group=option or +key=value for one that the config has
    if match := re.match(r"(\S+) appears more than once", text):
        word = _word_for(match[1], words)
        return (
            f"{word}: the config has a {match[1]} already; to choose another leave the + out:"
            f" {word.lstrip('+')}"
        )
    if match := re.match(r"Could not append to config. An item is already at '(.*)'", text):
        word = _word_for(match[1], words)
        return f"{word}: the config has {match[1]} already; leave the + out: {word.lstrip('+')}"
    if match := re.match(r"force-add of config groups is not supported: '(.*)'", text):
        return f"{match[1]}: chooses an option of a group; leave the + out: {match[1].lstrip('+')}"
    # ~key for one of the schema
    if match := re.match(r"Error merging override (~\S+)", text):
        return deletion_message(match[1])
    # hydra.<key>=a,b with -m
    if match := re.match(r"Sweeping over Hydra's configuration is not supported : '(.*)'", text):
        return f"{match[1]}: is a setting of the sweep as a whole and takes one value"
    # ~key for one that the config lacks
    if match := re.match(r"Could not delete from config. '(.*)' does not exist", text):
        key = match[1]
        return f"~{key}: there is no key {key}{did_you_mean(similar_keys(key))}"
    # `override <group>: <option>` in a sweep file
    if match := re.match(r"In '(.*)': Invalid Defaults List override '(\S+): ", text):
        file, group = match[1], match[2]
        choices = list_choices(group, group_names(), "")
        return f"-cn {file}: its defaults override {group}, which is not a group{choices}"
    return None


def _missing_file(missing: str | None, options: Sequence[str] | None, words: Sequence[str]) -> str:
    """Explain a config file that does not exist: an option of a group, or a primary config.

    Args:
        missing: `<group>/<option>`, or the name of a primary config; None where the folder of
            `-cp` is the problem.
        options: the options that the group has; None for a primary config.
    """
    # Hydra's launcher for Ray, which is an extra of Augean, brings this option.
    if missing == "hydra/launcher/ray":
        return "launcher=ray needs Ray and its Hydra launcher: pip install 'augean[ray]'"
    # An option of a group.
    if missing and options:
        group, option = _choice_for(missing, words)
        return f"{group}={option}: no such option{list_choices(option, options, f'{group}=')}"
    # A primary config: that of -cp, or another one that a file's `defaults` name, or that of -cn.
    command_line = parse_options(words)
    if command_line.config_path:
        problem = f"holds no {missing}.yaml" if missing else "is not a folder with a config"
        return (
            f"-cp {command_line.config_path}: {problem}; it takes the absolute path of a run's"
            " directory; sweep files of your own start by -cd <folder> -cn <name>"
        )
    # Without -cn Hydra takes conf/config.yaml.
    primary = command_line.config_name or "config"
    if primary != missing:
        return (
            f"{missing}: no such config file; `defaults` in {primary}.yaml, or in a file that it"
            " names, asks for it"
        )
    if command_line.config_name is None:
        return f"{config_dir() / 'config.yaml'}: no such file; restore it, or install Augean again"
    names = set(yaml_names(sweeps_dir()))
    if command_line.config_dir:
        names.update(yaml_names(Path(command_line.config_dir)))
    return f"-cn {missing}: no such sweep{list_choices(str(missing), sorted(names), '-cn ')}"


def _choice_for(missing: str, words: Sequence[str]) -> tuple[str, str]:
    """Return the group and the option that a command line chose by the file `<group>/<option>`.

    Both may have a slash in their names, so the words of the command line decide where one ends.
    """
    for word in words:
        group, _, options = word.lstrip("+").partition("=")
        for option in options.split(","):
            if f"{group}/{option}" == missing:
                return group, option
    group, _, option = missing.rpartition("/")
    return group, option


def _not_an_option(words: Sequence[str]) -> str:
    """Explain a number, null or the like where a group takes the name of an option."""
    for word in words:
        # Of several values of a sweep the first is enough.
        group, _, value = word.split(",")[0].partition("=")
        if group not in group_names():
            continue
        # Values that YAML gives another type than text; the last alternative is the empty value, as
        # in `model=`.
        if not re.fullmatch(r"[\d.e+-]+|null|true|false|", value, re.IGNORECASE):
            continue
        choices = list_choices(value, yaml_names(config_dir() / group), f"{group}=")
        # width=64 is meant for a key of the group.
        hint = ""
        number_keys = [key for key, item in _fields_below(group) if is_number(item.type)]
        if number_keys and value[:1].isdigit():
            hint = f". A number goes to its key: {number_keys[0]}={value}"
        return f"{group}={value}: takes the name of an option{choices}{hint}"
    return "a group takes the name of an option, such as width=w64"


def _unreadable_override(word: str, cause: BaseException | None, takes_sweep: bool) -> str:
    """Explain an override that Hydra's grammar refuses."""
    # From the clearest mistake to the least clear one: the first that fits is explained.
    # 1. Quotes that the shell has not removed.
    if word[:1] in ("'", '"'):
        inner = word.strip("'\"")
        return f"{word}: the quotes are part of what arrived; leave them out: {inner}"
    key, sign, value = word.partition("=")
    # 2. choice(a, null) and the like, of which Hydra's grammar takes no null.
    if "null" in re.split(r"[(,)]", value):
        return f"{word}: null is no argument of a function; write the values alone: {key}=null,..."
    # 3. Blanks or gaps around the sign or the commas.
    if sign and key.strip() != key:
        return f"{word}: no blanks around =: {key.strip()}={value.strip()}"
    if value != value.strip(",") or ",," in value:
        if not takes_sweep:
            return several_values_message(word, takes_sweep, prints_config=False)
        return (
            f"{word}: several values are written with commas alone, without blanks or gaps: -m"
            f" {key}=a,b"
        )
    # 4. key:value, key:=value or key==value, as other programs write it.
    other_sign = re.fullmatch(r"([\w./]+)(?:==|:=?)(.+)", word)
    if other_sign and is_known_key(other_sign[1]):
        return f"{word}: is not key=value; did you mean {other_sign[1]}={other_sign[2]}?"
    # 5. A function of Hydra's, and any other value that Hydra cannot read.
    if message := function_message(word, cause):
        return message
    if sign and value.startswith("{"):
        return f"{word}: cannot be read; write the values one by one, as in {key}.name=1"
    if sign and key:
        return (
            f"{word}: cannot be read; a value with blanks or signs takes two pairs of quotes: "
            f"""'{key}="{value}"'"""
        )
    # 6. A word without a sign.
    suggestions = settings_for_bare_word(word)
    hint = did_you_mean(suggestions)
    if not suggestions:
        hint = """; a value with blanks takes two pairs of quotes: 'key="two words"'"""
    return f"{word}: is not key=value (no blanks around =){hint}"


def _unknown_key(cause: OmegaConfBaseException, words: Sequence[str]) -> str:
    """Explain a key that the config does not have, with the keys that may be meant."""
    key = str(cause.full_key)
    word = _word_for(key, words)
    place = _sweep_file_text(words)
    if is_known_key(key):
        # The key exists, but not in what was composed: a sweep file without Augean's config.
        return (
            f"{word}: there is no key {key}{place}; defaults begin with config, as in"
            " [config, _self_]"
        )
    hint = did_you_mean(settings_for_unknown_key(cause, word))
    siblings = cause.parent_node
    if key.startswith("hydra.") and isinstance(siblings, DictConfig):
        # All of them, as `--cfg job` does not print the keys of Hydra.
        names = sorted(str(name) for name in siblings if not str(name).startswith("_"))
        hint = f"{hint or '.'} There are {', '.join(names)}"
    if not hint:
        hint = "; `python train.py --cfg job` prints all keys"
    # A word with = is on the command line, where no file needs to be named.
    if "=" in word:
        place = ""
    return f"{word}: there is no key {key}{place}{hint}"


def _wrong_value(cause: ValidationError, words: Sequence[str], takes_sweep: bool) -> str:
    """Explain a value of the wrong type, or one that is not among the fixed choices."""
    # dataset.mean[0] -> dataset.mean
    key = str(cause.full_key).split("[")[0]
    word = _word_for(key, words)
    # Not on the command line: the value comes from a file.
    if word == key:
        word = f"{cause.full_key}={cause.value}"
    item = schema_fields().get(key)
    if item is not None:
        value = word.partition("=")[2]
        description = describe_values(key, item, value)
        hint = ""
        if takes_sweep:
            is_sweep = parse_options(words).multirun
            hint = sweep_hint(key, item.type, value, is_sweep=is_sweep)
        return f"{word}: must be {description}{hint}"
    # Not a leaf of the schema: a node with keys of its own, or an entry of a dictionary.
    keys = [name for name, _ in _fields_below(key)]
    if not keys:  # an entry of a dictionary, such as the published numbers of a row
        return f"{word}: {str(cause).splitlines()[0]}"
    return f"{word}: {key} takes no value itself; its keys are {', '.join(keys)}"


def _fields_below(node: str) -> Iterator[tuple[str, "Field[Any]"]]:
    """Yield (dotted key, field) of every field below a node of the schema."""
    for key, item in schema_fields().items():
        if key.startswith(f"{node}."):
            yield key, item


def _word_for(key: str, words: Sequence[str]) -> str:
    """Return the word of the command line that sets a key, or one below it; else the key."""
    # The last one wins in Hydra too.
    for word in reversed(words):
        name = override_key(word)
        # A dictionary sets the keys in it: optimizer.arguments={nesterov:true}.
        has_dictionary = word.partition("=")[2].startswith("{")
        is_in_it = has_dictionary and key.startswith(f"{name}.")
        if is_in_it or f"{name}.".startswith(f"{key}."):
            return word
    return key


def _sweep_file_text(words: Sequence[str]) -> str:
    """Return ` in <sweep>.yaml`, the place of a key from a sweep file; empty without one."""
    try:
        name = parse_options(words).config_name
    except UsageError:
        return ""  # the words of a command that takes overrides and has options of its own
    return f" in {name}.yaml" if name else ""
