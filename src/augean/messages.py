"""What is wrong with a command line, or missing on the machine, in words that say what to type instead.

Hydra's messages name its own machinery; those here name what was typed, what is wrong with it and what is right.
"""

import difflib
import errno
import os
import re
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING
from pathlib import Path
from typing import NoReturn

import yaml
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from augean.config import Config, config_dir, sweeps_dir, walk
from augean.errors import AugeanError, ConfigError, UsageError

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
ENVIRONMENT = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)
"""What an operating system refuses and only its user can mend."""
WRITABLE = "choose a folder that you can write to, with room: runtime.outputs=<folder>"


def check(words: Sequence[str]) -> Namespace:
    """Refuse what Hydra would misunderstand without a word, or answer with a page of usage.

    Args:
        words: of the command line, after the program.

    Returns:
        What Hydra's own parser makes of them.

    Raises:
        UsageError: for an option that there is not, or one without its value.
        AugeanError: for a folder without effect, and for a list of options where a sweep is meant.
    """
    told = _options(words)
    conf, folder, name = config_dir(), Path(told.config_dir or "."), str(told.config_name or "")
    if told.config_dir and not folder.is_dir():
        folders = [path.name for path in Path.cwd().iterdir() if path.is_dir()]
        meant = [f"-cd {near}" for near in close(told.config_dir, folders)]
        raise AugeanError(f"-cd {folder}: no such folder{did_you_mean(meant)}")
    if told.config_dir and not name and not any(folder.glob("*/*.yaml")):
        raise AugeanError(f"-cd {folder}: names a folder and no sweep; add -cn <name>{among('', stems(folder), '')}")
    if told.config_dir and folder.resolve() != conf and name in stems(folder) and name in stems(conf):
        raise AugeanError(
            f"-cd {folder} -cn {name}: would start the default run, as {conf}/{name}.yaml comes first; "
            f"the config of a run starts by -cp {folder.absolute()} -cn {name}"
        )
    if name.endswith((".yaml", ".yml")) and told.config_path is None:
        file = Path(name)
        place = f"-cd {file.parent} " if file.is_file() and file.parent.resolve() != sweeps_dir().resolve() else ""
        raise AugeanError(f"-cn {name}: takes a name, no file; did you mean {place}-cn {file.stem}?")
    if told.config_dir and "defaults" not in (_read_mapping(folder / f"{name}.yaml") or ["defaults"]):
        # Hydra would run it without Augean's sweeper and leave a folder of its own.
        raise AugeanError(f"{folder / name}.yaml: is no sweep; defaults begin with config, as in [config, _self_]")
    if told.config_path:
        _refuse_settings(Path(told.config_path) / f"{name or 'config'}.yaml")
    for word in told.overrides:
        key, _, value = word.partition("=")
        if value and not key.strip("+~ "):
            raise AugeanError(f"{word}: names no key; settings are written key=value")
        if key in _groups() and value.startswith("[") and "," in value:
            raise AugeanError(f"{word}: a list mixes options in one run; a sweep over them is -m {key}={value[1:-1]}")
        if key == "hydra/sweeper" and value != "augean":
            raise AugeanError(
                f"{word}: grids and studies have one sweeper, Augean's own; leave this out "
                "(a study: -m hydra.sweeper.n_trials=40 and a search space)"
            )
    return told


def _read_mapping(file: Path) -> dict[str, object] | None:
    """What a YAML file holds; None where Hydra has more to say about it."""
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _refuse_settings(file: Path) -> None:
    """Refuse a run's config that says more than what is trained: a stranger could name any file and function."""
    try:
        text = file.read_text()
        content = yaml.safe_load(text)
    except OSError:
        return  # Hydra says it
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise AugeanError(f"{file}: no valid YAML ({' '.join(str(error).split())})") from error
    content = content if isinstance(content, dict) else {}
    foreign = [str(key) for key in content if str(key).split(".")[0] in ("hydra", "runtime")]
    if content.get("defaults", ["augean", "_self_"]) != ["augean", "_self_"]:
        foreign.append("other defaults than augean and _self_")
    if foreign or "@package" in text:
        raise AugeanError(
            f"{file}: has {', '.join(foreign) or '@package'}, which no run writes into its config; "
            "remove that, and give such settings on the command line"
        )


def explain(error: BaseException, words: Sequence[str]) -> str | None:
    """The message for an exception that a command line caused; None for one that is no user's fault."""
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
    if isinstance(error, ValueError | OmegaConfBaseException) or "incompatible container types" in str(error):
        return str(error).split("\n")[0]
    if isinstance(error, yaml.YAMLError):
        return f"no valid YAML: {' '.join(str(error).split())}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; {WRITABLE}"
    return _machine(error)


@contextmanager
def mendable() -> Iterator[None]:
    """Give Augean's words to exceptions of libraries that a user can mend: memory, disk, a missing package."""
    try:
        yield
    except AugeanError:
        raise
    except Exception as error:
        if text := _machine(error):
            raise AugeanError(text) from error
        raise


def pipe_closed() -> NoReturn:
    """End as `head` and the like expect it of who writes to them: silently, with the status of SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still buffered
    raise SystemExit(128 + signal.SIGPIPE)


def stems(folder: Path) -> list[str]:
    """Names of the YAML files in a folder: options of a group, or sweeps."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _machine(error: BaseException) -> str | None:
    text = str(error).split("\n")[0]
    full = re.search(r"out of memory|allocate memory", text)
    if isinstance(error, MemoryError) or (full and isinstance(error, RuntimeError)):
        asked = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
        return (
            f"out of memory{f' ({asked[0]})' if asked else ''}: make the run smaller with trainer.batch_size or "
            "width.channels, take fewer runtime.workers, or free the device; nvidia-smi shows who uses a GPU, "
            "runtime.device=cuda:1 takes another"
        )
    if isinstance(error, ModuleNotFoundError):
        return f"{text} in {sys.executable}: pip install {error.name}, or `make setup` for all that Augean needs"
    if isinstance(error, OSError) and error.errno in ENVIRONMENT and error.filename:
        return f"{error.filename}: {error.strerror}; {WRITABLE}"
    return None


def _options(words: Sequence[str]) -> Namespace:
    """What Hydra's own parser makes of the words; its page of usage becomes a sentence."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> None:
        raise UsageError(f"{message}; `python train.py --hydra-help` lists the options")

    parser.error = refuse  # type: ignore[assignment, method-assign]
    told, unknown = parser.parse_known_intermixed_args(list(words))
    if unknown:
        name, _, value = unknown[0].lstrip("-").partition("=")
        known = [text for text in parser._option_string_actions if text.startswith("--")]
        meant = [f"{key}={value or '<value>'}" for key in _similar_keys(name)] + close(unknown[0], known)
        raise UsageError(f"{unknown[0]}: no such option{did_you_mean(meant) or '.'} Settings are written key=value")
    return told


def _hydra(error: BaseException, words: Sequence[str]) -> str:
    text, cause = str(error), error.__cause__ or error.__context__
    missing, options = getattr(error, "missing_cfg_file", None), getattr(error, "options", None)
    if missing == "hydra/launcher/ray":
        return "launcher=ray needs Ray and its Hydra launcher: pip install 'augean[ray]'"
    if missing and options:
        group, _, option = missing.rpartition("/")
        return f"{group}={option}: no such option{among(option, options, f'{group}=')}"
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
        return f"{found[1]}: several values are a sweep: add -m, as in -m {found[1]}; one list is written key=[a,b]"
    if found := re.match(r"(\S+) appears more than once", text):
        word = _typed(found[1], words)
        return f"{word}: the config has a {found[1]} already; to choose another leave the + out: {word.lstrip('+')}"
    if found := re.match(r"Could not delete from config. '(.*)' does not exist", text):
        return f"~{found[1]}: there is no key {found[1]}{did_you_mean(_similar_keys(found[1]))}"
    if found := re.match(r"In '(.*)': Invalid Defaults List override '(\S+): ", text):
        return f"-cn {found[1]}: its defaults override {found[2]}, which is no group{among(found[2], _groups(), '')}"
    lines = [line for line in text.split("Config search path")[0].splitlines() if line and "To append" not in line]
    return "\n".join([*lines, *str(cause or "").splitlines()[:1]])


def _no_primary(missing: str | None, words: Sequence[str]) -> str:
    told = _options(words)
    if told.config_path:
        return (
            f"-cp {told.config_path}: {f'holds no {missing}.yaml' if missing else 'is no folder with a config'}; it "
            "takes the absolute path of a run's directory; sweep files of your own start by -cd <folder> -cn <name>"
        )
    if told.config_name != missing:
        return f"{missing}: no such config file; the defaults of -cn {told.config_name} name it"
    names = sorted({*stems(sweeps_dir()), *(stems(Path(told.config_dir)) if told.config_dir else [])})
    return f"-cn {missing}: no such sweep{among(str(missing), names, '-cn ')}"


def _no_option(words: Sequence[str]) -> str:
    """A number, null or the like where a group takes the name of an option."""
    for key, value in (word.split(",")[0].partition("=")[::2] for word in words):
        if key in _groups() and re.fullmatch(r"[\d.e+-]+|null|true|false|", value, re.IGNORECASE):
            names = among(value, stems(config_dir() / key), f"{key}=")
            keys = [name for name, item, _ in walk(Config(), "") if name.startswith(f"{key}.") if _is_number(item.type)]
            number = f". A number goes to its key: {keys[0]}={value}" if keys and value[:1].isdigit() else ""
            return f"{key}={value}: takes the name of an option{names}{number}"
    return "a group takes the name of an option, such as width=w64"


def _is_number(annotation: object) -> bool:
    return annotation in (int, float, int | None, float | None)


def _takes(annotation: object, value: str) -> bool:
    """Whether a key of this type may take a value that begins so."""
    if annotation is bool:
        return value.lower() in ("true", "false")
    return not _is_number(annotation) or not value[:1].isalpha()


def _unreadable(word: str) -> str:
    """An override that Hydra's grammar refuses."""
    key, sign, value = word.partition("=")
    if sign and key.strip() != key:
        return f"{word}: no blanks around =: {key.strip()}={value.strip()}"
    if value != value.strip(",") or ",," in value:
        return f"{word}: several values are written with commas alone, without blanks or gaps: -m {key}=a,b"
    if (pair := re.fullmatch(r"([\w./]+)(?:==|:=?)(.+)", word)) and _names(pair[1]):
        return f"{word}: is not key=value; did you mean {pair[1]}={pair[2]}?"
    if sign and key:
        return f"""{word}: cannot be read; a value with blanks or signs takes two pairs of quotes: '{key}="{value}"'"""
    meant = [f"{group}={word}" for group in _groups() if word in stems(config_dir() / group)]
    file = Path(word)
    meant += [f"-cn {file.stem}"] if file.stem in stems(sweeps_dir()) else []
    if not meant and file.suffix == ".yaml" and file.is_file():
        meant = [f"-cd {file.parent} -cn {file.stem}"]
    if not meant and _names(word.rstrip(":")):
        meant = [f"{word.rstrip(':')}=<value>"]
    hint = "" if meant else """; a value with blanks takes two pairs of quotes: 'key="two words"'"""
    return f"{word}: is not key=value (no blanks around =){did_you_mean(meant)}{hint}"


def _unknown_key(cause: OmegaConfBaseException, words: Sequence[str]) -> str:
    key = str(cause.full_key)
    word = _typed(key, words)
    written, sign, value = word.lstrip("+~").partition("=")
    if _names(key):  # what is composed has it not: a sweep file that does not begin with Augean's config
        return f"{word}: there is no key {key}{_place(words)}; defaults begin with config, as in [config, _self_]"
    hint = re.search(r"Did you mean: '(\w+)'", str(cause))
    near = [key.removesuffix(str(cause.key)) + hint[1]] if hint else []
    near = near if key.startswith(("hydra", "runtime.table.")) else _similar_keys(key, value)
    near = [f"hydra.sweeper.{key}"] if key in SWEEPER_KEYS else near
    meant = [name + written.removeprefix(key) * (name in _groups()) + sign + value for name in near]
    meant = [USUAL[key].format(value)] if key in USUAL else meant
    node, _, rest = key.partition(".")
    if not meant and node in CLASS_NODES and rest and sign:
        meant.append(f"++{node}.arguments.{rest.removeprefix('arguments.')}={value} (an argument of its class)")
    place = "" if sign else _place(words)
    return (
        f"{word}: there is no key {key}{place}{did_you_mean(meant) or '; `python train.py --cfg job` prints all keys'}"
    )


def _wrong_type(word: str, key: str) -> str:
    for name, item, _ in walk(Config(), ""):
        if name == key:
            kind = re.split(r"\W", str(getattr(item.type, "__name__", item.type)))[0]
            default = item.default_factory() if item.default_factory is not MISSING else item.default
            shown = EXAMPLES.get(kind, "") if default in (None, "???", {}) else str(default).replace(" ", "").lower()
            shown = f"[{word.partition('=')[2]}]" if default == [] else shown
            return f"{word}: must be {KINDS.get(kind, kind)}{f', such as {key}={shown}' if shown else ''}"
    keys = [name for name, *_ in walk(Config(), "") if name.startswith(f"{key}.")]
    return f"{word}: {key} takes no value itself; its keys are {', '.join(keys)}"


def _typed(key: str, words: Sequence[str]) -> str:
    """The word of the command line that sets a key, or one below it; the key where none does."""
    keys = {f"{word.lstrip('+~').partition('=')[0]}.": word for word in words}
    return next((word for name, word in reversed(keys.items()) if name.startswith(f"{key}.")), key)


def _place(words: Sequence[str]) -> str:
    """Where a key stands that the command line does not name: in its sweep file."""
    name = _options(words).config_name
    return f" in {name}.yaml" if name else ""


def _names(word: str) -> bool:
    """Whether a word is a group, a key or the beginning of one."""
    return word in _groups() or any(f"{name}.".startswith(f"{word}.") for name, *_ in walk(Config(), ""))


def _groups() -> list[str]:
    return sorted(path.name for path in config_dir().iterdir() if path.is_dir())


def _similar_keys(key: str, value: str = "") -> list[str]:
    """Keys and groups that someone may have meant: of the same last name, else a similar one that takes the value."""
    node, _, last = key.lower().rpartition(".")
    types = {name: item.type for name, item, _ in walk(Config(), "")}
    keys = [*_groups(), *types]
    inside = {name.rpartition(".")[2]: name for name in keys if name.startswith(f"{node}.")} if node else {}
    same = [name for name in keys if name.rpartition(".")[2] == last]
    leaves = inside or {name.rpartition(".")[2]: name for name in keys}
    near = [] if same and node else [leaves[leaf] for leaf in close(last, list(leaves))]
    near = [name for name in near if not value or name not in types or _takes(types[name], value)]
    return list(dict.fromkeys([*same, *near]))[:3]


def close(word: str, choices: Sequence[str]) -> list[str]:
    """The choice that begins with the word or is most like it, whatever its case; empty where none is."""
    lower = {choice.lower(): choice for choice in choices}
    begins = [choice for choice in lower if word and choice.startswith(word.lower())]
    near = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return [lower[choice] for choice in (begins[:1] or near)]


def among(word: str, choices: Sequence[str], prefix: str) -> str:
    """What someone may have meant of the choices, and all of them."""
    meant = did_you_mean([prefix + choice for choice in close(word, choices)])
    return f"{meant or '.'} There are {', '.join(choices) or 'none'}"


def did_you_mean(texts: Sequence[str]) -> str:
    return f"; did you mean {' or '.join(texts)}?" if texts else ""
