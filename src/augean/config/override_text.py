"""Write values as the text of overrides, as Hydra reads it."""

import re
import shlex
from pathlib import Path
from typing import Any

from augean.config.paths import places
from augean.config.schema import RuntimeConfig
from augean.errors import ConfigError
from augean.override_key import outputs_override

BARE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
"""Text that needs no quotes, unless it is one of `KEYWORDS`."""
KEYWORDS = ("true", "false", "null", "inf", "nan")
"""Words that Hydra reads as other values, in upper and lower case."""
SPECIAL = re.compile(r"([\\()\[\]{}:=, \t])")
"""Characters that need a backslash in the key of a dictionary, which cannot be quoted."""
KEY = re.compile(r"[A-Za-z0-9_/\\+.$%*@?|()\[\]{}:=, \t-]+")
"""Characters that the key of a dictionary may have at all."""
NUMBER_LIKE = re.compile(r"[+-]?[\d._]+([eE][+-]?[\d_]+)?")


def override_text(value: Any, place: str) -> str:
    """Return a value as the right-hand side of an override, which Hydra reads as the same value.

    Text is quoted where it would be read as something else: "1" stays text, and so does "a, b".

    Args:
        value: None, a truth value, a number, text, or a list or dictionary of them.
        place: key of the value, for messages.

    Raises:
        ConfigError: for another value, and for keys that Hydra has no notation for.
    """
    if value is None:
        return "null"
    # Before int, of which bool is a subclass.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)  # all digits of a float, so that Hydra reads the same number
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(override_text(item, place) for item in value)}]"
    if isinstance(value, dict):
        entries = []
        for key, item in value.items():
            entries.append(f"{_key(key, place)}: {override_text(item, place)}")
        return f"{{{', '.join(entries)}}}"
    raise ConfigError(
        f"{place}: {value!r} cannot be written as an override; it takes text, numbers, true, false,"
        " null, and lists and keys with those"
    )


def readable(text: str) -> str:
    r"""Return the right-hand side of an override as a person reads it: `until\ features.3` without
    its backslash.
    """
    has_quotes = "'" in text or '"' in text
    return text if has_quotes else re.sub(rf"\\{SPECIAL.pattern}", r"\1", text)


def written_value(value: Any, place: str) -> str:
    """Return a value of a sweep file as the right-hand side of an override.

    Text is left as it is: in a sweep file it is written as on the command line, such as `0,1,2`.

    Args:
        place: key of the value, for messages.

    Raises:
        ConfigError: as `override_text`.
    """
    return value if isinstance(value, str) else override_text(value, place)


def _text(text: str) -> str:
    """Return text in quotes where Hydra would read it as something else without them."""
    if BARE.fullmatch(text) and text.lower() not in KEYWORDS:
        return text
    # Three marks need a backslash, and Hydra and OmegaConf halve the backslashes before each.
    # 1. ${ would begin an interpolation, which OmegaConf looks up in the config.
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    # 2. A quote would end the text.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", escaped)
    # 3. Backslashes at the end stand before the closing quote.
    escaped = re.sub(r"(\\+)\Z", r"\1\1", escaped)
    return f"'{escaped}'"


def _key(key: Any, place: str) -> str:
    """Return a key of a dictionary. Hydra's grammar takes no quotes there."""
    if not isinstance(key, str):
        return override_text(key, place)
    is_text = key.lower() not in KEYWORDS and not NUMBER_LIKE.fullmatch(key)
    if not is_text or not KEY.fullmatch(key) or "${" in key:
        raise ConfigError(
            f"{place}: the key {key!r} cannot be written as an override; choose a name of letters,"
            " digits and '_'"
        )
    return SPECIAL.sub(r"\\\1", key)


def command_in(command: str, outputs: Path) -> str:
    """Return the command of a launch such that it goes on with the records of a folder.

    The folder may have been moved or unpacked since, or the command given elsewhere.

    Args:
        outputs: as seen from the current folder.
    """
    # A loop of one's own takes no overrides.
    if not command.startswith(("augean train ", "python train.py ")):
        return command
    try:
        words = shlex.split(command)
    except ValueError:  # a record may come from a stranger
        return command
    place = outputs_override(words) or RuntimeConfig().outputs
    is_here = Path(place).expanduser().absolute() == outputs.absolute()
    # Only Hydra can resolve an interpolation.
    if is_here or "${" in place:
        return command
    return f"{command} {shlex.quote(f'runtime.outputs={_text(str(outputs))}')}"


def place_overrides(runtime: RuntimeConfig) -> list[str]:
    """Return overrides that set the folders of a config to absolute paths.

    A job of a cluster may start in another folder.
    """
    overrides = []
    for name, folder in places(runtime).items():
        if folder is not None:
            overrides.append(f"runtime.{name}={_text(str(Path(folder).absolute()))}")
    return overrides
