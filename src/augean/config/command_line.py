"""Refuse command lines that Hydra would misunderstand without a word."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import yaml

from augean.config.key_suggestions import group_names, similar_keys
from augean.config.paths import config_dir, sweeps_dir, yaml_names
from augean.errors import AugeanError, UsageError
from augean.suggestions import closest, did_you_mean, list_choices


def check_command_line(words: Sequence[str]) -> Namespace:
    """Refuse what Hydra would misunderstand without a word, or answer with a page of usage.

    Args:
        words: of the command line, after the program.

    Returns:
        What Hydra's own parser makes of them.

    Raises:
        UsageError: for an option that there is not, or one without its value.
        AugeanError: for a folder without effect, and for a list of options where a sweep is meant.
    """
    told = parse_options(words)
    conf, folder, name = config_dir(), Path(told.config_dir or "."), str(told.config_name or "")
    if told.config_dir and not folder.is_dir():
        folders = [path.name for path in Path.cwd().iterdir() if path.is_dir()]
        meant = [f"-cd {near}" for near in closest(told.config_dir, folders)]
        raise AugeanError(f"-cd {folder}: no such folder{did_you_mean(meant)}")
    if told.config_dir and not name and not any(folder.glob("*/*.yaml")):
        raise AugeanError(
            f"-cd {folder}: names a folder and no sweep; add -cn"
            f" <name>{list_choices('', yaml_names(folder), '')}"
        )
    if (
        told.config_dir
        and folder.resolve() != conf
        and name in yaml_names(folder)
        and name in yaml_names(conf)
    ):
        raise AugeanError(
            f"-cd {folder} -cn {name}: would start the default run, as {conf}/{name}.yaml comes"
            f" first; the config of a run starts by -cp {folder.absolute()} -cn {name}"
        )
    if name.endswith((".yaml", ".yml")) and told.config_path is None:
        file = Path(name)
        place = (
            f"-cd {file.parent} "
            if file.is_file() and file.parent.resolve() != sweeps_dir().resolve()
            else ""
        )
        raise AugeanError(
            f"-cn {name}: takes a name, no file; did you mean {place}-cn {file.stem}?"
        )
    if told.config_dir and "defaults" not in (
        _read_mapping(folder / f"{name}.yaml") or ["defaults"]
    ):
        # Hydra would run it without Augean's sweeper and leave a folder of its own.
        raise AugeanError(
            f"{folder / name}.yaml: is no sweep; defaults begin with config, as in [config, _self_]"
        )
    if told.config_path:
        _refuse_settings(Path(told.config_path) / f"{name or 'config'}.yaml")
    for word in told.overrides:
        key, _, value = word.partition("=")
        if value and not key.strip("+~ "):
            raise AugeanError(f"{word}: names no key; settings are written key=value")
        if key in group_names() and value.startswith("[") and "," in value:
            raise AugeanError(
                f"{word}: a list mixes options in one run; a sweep over them is -m"
                f" {key}={value[1:-1]}"
            )
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
    """Refuse a run's config that says more than what is trained: a stranger could name any file and
    function.
    """
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


def parse_options(words: Sequence[str]) -> Namespace:
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
        meant = [f"{key}={value or '<value>'}" for key in similar_keys(name)] + closest(
            unknown[0], known
        )
        raise UsageError(
            f"{unknown[0]}: no such option{did_you_mean(meant) or '.'} Settings are written"
            " key=value"
        )
    return told
