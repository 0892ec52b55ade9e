"""Classes that a config names: found or refused with the key, and their arguments checked."""

import pytest

from augean.config.instantiate import check_arguments, find_class
from augean.errors import ConfigError


class Scale:
    def __init__(self, factor: float, *, offset: float = 0.0) -> None:
        self.factor = factor
        self.offset = offset


class Anything:
    def __init__(self, **options: float) -> None:
        self.options = options


def test_a_class_of_the_right_base_is_found() -> None:
    assert find_class("key", "collections.OrderedDict", dict).__name__ == "OrderedDict"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module.Class", "cannot import no_such_module"),
        ("collections.Missing", "collections has no Missing"),
        ("collections.Counter", "must be a class derived from builtins.list"),
        ("collections.namedtuple", "must be a class derived from builtins.list"),
    ],
)
def test_other_targets_are_refused_with_key_and_target(target: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_class("model._target_", target, list)
    assert str(caught.value).startswith(f"model._target_={target}: ")
    assert message in str(caught.value)


def test_an_unknown_argument_is_refused_with_those_that_the_class_takes() -> None:
    check_arguments("scale.arguments", Scale, ["factor", "offset"])
    with pytest.raises(ConfigError) as caught:
        check_arguments("scale.arguments", Scale, ["factor", "ofset"])
    expected = "scale.arguments.ofset: Scale takes no such argument; it takes factor, offset"
    assert str(caught.value) == f"{expected}; leave it out with ~scale.arguments.ofset"


def test_a_class_of_free_keywords_takes_any_argument() -> None:
    check_arguments("anything.arguments", Anything, ["whatever"])
