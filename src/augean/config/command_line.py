"""Refuse command lines that Hydra would misunderstand without an error.

Options: `-m` makes a sweep, `-cn` names the primary config (a sweep file), `-cd` adds a folder of
configs, `-cp` replaces the folder `conf` (by the directory of a run), `--cfg` prints the config.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from augean.config.key_suggestions import group_names, similar_keys
from augean.config.paths import config_dir, sweeps_dir, yaml_names
from augean.config.yaml_files import parse_yaml
from augean.errors import AugeanError, UsageError
from augean.override_key import override_key
from augean.regular_files import CONFIG_BYTES, read_regular
from augean.suggestions import closest, did_you_mean, list_choices


def check_command_line(words: Sequence[str]) -> Namespace:
    """Parse a command line, and refuse what Hydra would misunderstand without an error.

    Args:
        words: the command line without the program's name.

    Returns:
        The options as Hydra's own parser reads them.

    Raises:
        UsageError: for an option that does not exist, or one without its value.
        AugeanError: for a folder that would have no effect, for a file that is not a sweep or not
            the config of a run, and for an override that Hydra would take for another.
    """
    options = parse_options(words)
    # Without -cn Hydra takes the default run, conf/config.yaml.
    name = str(options.config_name or "")
    if options.config_dir:
        _check_config_dir(options.config_dir, name)
    if options.config_path is None:
        refuse_file_name(name)
    if options.config_dir:
        check_sweep_file(Path(options.config_dir) / f"{name}.yaml")
    if options.config_path:
        # Hydra adds the ending where the name has none.
        file_name = name if name.endswith(".yaml") else f"{name or 'config'}.yaml"
        _refuse_settings(Path(options.config_path) / file_name)
    for word in options.overrides:
        _check_override(word)
    if options.cfg and options.multirun:
        raise UsageError(
            f"-m --cfg {options.cfg}: --cfg prints the config of one run; leave -m out, and give"
            " each key one value"
        )
    return options


class _OnceNamespace(Namespace):
    """Options that refuse a second, different value where they name a file.

    Hydra would take the last value and ignore the others. argparse sets each option as an attribute
    of this object, None first.
    """

    NAMES: ClassVar = {"config_name": "-cn", "config_dir": "-cd", "config_path": "-cp"}

    def __setattr__(self, name: str, value: object) -> None:
        earlier = getattr(self, name, None)
        if name in self.NAMES and earlier is not None and value not in (None, earlier):
            option = self.NAMES[name]
            raise UsageError(
                f"{option} {earlier} {option} {value}: takes one name; give one command for each"
            )
        super().__setattr__(name, value)


def parse_options(words: Sequence[str]) -> Namespace:
    """Parse the words as Hydra does.

    Raises:
        UsageError: for words that Hydra's parser refuses, in one sentence instead of its page of
            usage.
    """
    # Private, but Hydra has no public function that parses a command line.
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> None:
        raise UsageError(f"{message}; `python train.py --hydra-help` lists the options")

    # argparse would print its page of usage and end the process.
    parser.error = refuse  # type: ignore[assignment, method-assign]
    # Intermixed: an option may stand between two overrides.
    options, unknown = parser.parse_known_intermixed_args(list(words), _OnceNamespace())
    if unknown:
        option_names = [name for name in parser._option_string_actions if name.startswith("--")]
        raise UsageError(_unknown_option(unknown[0], option_names))
    return options


def _unknown_option(word: str, option_names: Sequence[str]) -> str:
    """Return the message for a word that looks like an option.

    It suggests config keys before options, as other programs take settings as options, such as
    `--epochs 3`.
    """
    key, _, value = word.lstrip("-").partition("=")
    suggestions = [f"{name}={value or '<value>'}" for name in similar_keys(key)]
    suggestions += closest(word, option_names)
    hint = did_you_mean(suggestions) or "."
    return f"{word}: no such option{hint} Settings are written key=value"


def _check_config_dir(config_dir_option: str, name: str) -> None:
    """Check `-cd`, a folder of sweep files.

    Args:
        config_dir_option: the value of `-cd`.
        name: the value of `-cn`; empty without this option.
    """
    folder = Path(config_dir_option)
    if not folder.is_dir():
        folders_here = [path.name for path in Path.cwd().iterdir() if path.is_dir()]
        suggestions = [f"-cd {similar}" for similar in closest(config_dir_option, folders_here)]
        raise AugeanError(f"-cd {folder}: no such folder{did_you_mean(suggestions)}")
    # Without -cn a folder of config groups adds options to the default run; a folder of sweep
    # files would have no effect.
    if not name and not any(folder.glob("*/*.yaml")):
        choices = list_choices("", yaml_names(folder), "")
        raise AugeanError(f"-cd {folder}: names a folder and no sweep; add -cn <name>{choices}")
    refuse_shadowed_options(folder)
    # Hydra searches conf before the folder of -cd: it would never read a file of the same name.
    conf = config_dir()
    is_in_both = name in yaml_names(folder) and name in yaml_names(conf)
    if is_in_both and folder.resolve() != conf.resolve():
        raise AugeanError(
            f"-cd {folder} -cn {name}: would start the default run, as {conf}/{name}.yaml comes"
            f" first; the config of a run starts by -cp {folder.absolute()} -cn {name}"
        )


def refuse_shadowed_options(folder: Path) -> None:
    """Refuse options in the folder of `-cd` that Hydra would never read.

    Raises:
        AugeanError: for an option of a group that has the name of one of Augean's own, and says
            something else.
    """
    conf = config_dir()
    for own_file in sorted(conf.glob("*/**/*.yaml")):
        file = folder / own_file.relative_to(conf)
        # A copy of Augean's file is no mistake, and the folder may be conf itself.
        if file.is_file() and _read_mapping(file) != _read_mapping(own_file):
            raise AugeanError(
                f"{file}: would not be read, as Augean's own {own_file.parent.name}="
                f"{own_file.stem} comes first; rename it"
            )


def refuse_file_name(name: str) -> None:
    """Refuse `-cn sweeps/table.yaml` with the options that start this file.

    Raises:
        AugeanError: for a name that ends as a file's does.
    """
    if not name.endswith((".yaml", ".yml")):
        return
    file = Path(name)
    # Augean's own sweeps, in sweeps/, are found by name alone.
    folder_option = ""
    if file.is_file() and file.parent.resolve() != sweeps_dir().resolve():
        folder_option = f"-cd {file.parent} "
    raise AugeanError(
        f"-cn {name}: takes a name, not a file; did you mean {folder_option}-cn {file.stem}?"
    )


def check_sweep_file(file: Path) -> None:
    """Refuse a user's sweep file that is not UTF-8, which Hydra would not name, and one without
    `defaults`, which it would run without Augean's schema and sweeper.

    Raises:
        AugeanError: for these, and for a file that cannot be read.
    """
    try:
        (_read(file) or b"").decode()
    except UnicodeDecodeError as error:
        raise AugeanError(f"{file}: is not UTF-8 ({error}); save it in that encoding") from error
    content = _read_mapping(file)
    # An empty file has no key that Hydra could misunderstand.
    if content and "defaults" not in content:
        raise AugeanError(
            f"{file}: is not a sweep file; defaults begin with config, as in [config, _self_]"
        )


def _read(file: Path) -> bytes | None:
    """Read a YAML file; return None where it is missing, for which Hydra has a good message.

    Raises:
        AugeanError: when it cannot be read. For a named pipe Hydra would wait for ever.
    """
    try:
        return read_regular(file, CONFIG_BYTES)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise AugeanError(f"{file}: cannot be read ({error.strerror})") from error


def _read_mapping(file: Path) -> dict[str, object] | None:
    """Read a YAML file of keys and values.

    Returns:
        None for a file that is missing or has no keys: Hydra itself has a good message.
    """
    try:
        content = parse_yaml(_read(file) or b"")
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _refuse_settings(file: Path) -> None:
    """Refuse a run's config that also has settings of Hydra or of `runtime`.

    The file may come from a stranger, and Hydra's settings can name any file and function.
    """
    binary = _read(file)
    if binary is None:
        return
    try:
        content = parse_yaml(binary)
    except ValueError as error:
        raise AugeanError(f"{file}: no valid YAML ({error})") from error
    foreign_settings = []
    if isinstance(content, dict):
        for key in map(str, content):
            # Both `hydra: {run: ...}` and the dotted key `hydra.run: ...` belong to the node.
            node = key.split(".")[0]
            if node in ("hydra", "runtime"):
                foreign_settings.append(key)
        # Other defaults would bring in other files, with settings that are not seen here.
        run_defaults = ["augean", "_self_"]
        if content.get("defaults", run_defaults) != run_defaults:
            foreign_settings.append("other defaults than augean and _self_")
    # Hydra reads `# @package hydra` in a comment: it moves the whole file below that node.
    if not foreign_settings and b"@package" in binary:
        foreign_settings.append("@package")
    if foreign_settings:
        raise AugeanError(
            f"{file}: has {', '.join(foreign_settings)}, which Augean never writes into the config"
            " of a run; remove that, and give such settings on the command line"
        )


def _check_override(word: str) -> None:
    # Hydra would accept all of these without an error, and train something else.
    key = override_key(word)
    value = word.partition("=")[2]
    if value and not key.strip("+~ "):
        raise AugeanError(f"{word}: names no key; settings are written key=value")
    if key in group_names() and value.startswith("[") and "," in value:
        raise AugeanError(
            f"{word}: a list mixes options in one run; a sweep over them is -m {key}={value[1:-1]}"
        )
    if key == "hydra/sweeper" and value != "augean":
        raise AugeanError(
            f"{word}: grids and studies have one sweeper, Augean's own; leave this out"
            " (a study: -m hydra.sweeper.n_trials=40 and a search space)"
        )
