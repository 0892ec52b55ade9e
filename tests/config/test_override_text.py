"""Values as the text of overrides, which Hydra reads as the same values."""

import random
import shlex
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from augean.config.override_text import command_in, override_text, readable
from augean.errors import ConfigError

SIGNS = "ab1.,:='\"\\${}[]() \n\té~-+_#%@!*|?eE0"


def read_back(text: str) -> Any:
    """Return the value that a config gets from an override with this right-hand side."""
    override = OverridesParser.create().parse_override(f"key={text}")
    assert not override.is_sweep_override()
    config = OmegaConf.create()
    OmegaConf.update(config, "key", override.value())
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return content["key"]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        8,
        1e-5,
        float("inf"),
        "relu",
        "l2_5e-4",
        "",
        "1",
        "true",
        "null",
        "a, b",
        "it's",
        "${seed}",
        "ends with \\",
        [1, "1", None, ["a b"]],
        {"a": 1, "b c:d": [True], 1: "one", 2.5: {}},
    ],
)
def test_hydra_reads_the_same_value(value: Any) -> None:
    assert repr(read_back(override_text(value, "key"))) == repr(value)


def test_hydra_reads_the_same_text_whatever_signs_it_has() -> None:
    generator = random.Random(0)
    for _ in range(300):
        text = "".join(generator.choices(SIGNS, k=generator.randrange(7)))
        assert read_back(override_text(text, "key")) == text


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"until\ features.3", "until features.3"),
        (r"a\,b", "a,b"),
        (r"'a\ b'", r"'a\ b'"),
        ("[0.9,0.999]", "[0.9,0.999]"),
    ],
)
def test_a_person_reads_no_backslashes(text: str, read: str) -> None:
    assert readable(text) == read


@pytest.mark.parametrize(
    ("command", "folder", "is_there"),
    [
        ("augean train -m seed=0,1", "outputs", True),
        ("augean train -m seed=0,1", "unpacked", False),
        ("python train.py -cn a runtime.outputs=there", "my runs", False),
        ("augean train -cn a 'runtime.outputs=\"my runs\"'", "my runs", True),
        ("augean train -cn a ++runtime.outputs=there", "there", True),
        ("python loop.py", "unpacked", True),
    ],
)
def test_a_command_goes_on_in_the_folder_of_its_record(
    command: str, folder: str, is_there: bool
) -> None:
    result = command_in(command, Path(folder))
    if is_there:
        assert result == command
    else:
        *words, last = shlex.split(result)
        assert words == shlex.split(command)
        override = OverridesParser.create().parse_override(last)
        assert (override.get_key_element(), override.value()) == ("runtime.outputs", folder)


@pytest.mark.parametrize("value", [b"bytes", {"1": "a"}, {"é": 1}, {"true": 1}])
def test_a_value_without_a_notation_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.params\.x"):
        override_text(value, "hydra.sweeper.params.x")
