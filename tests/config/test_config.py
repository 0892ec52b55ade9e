"""The run address: what changes it, what does not, and what is refused before any work."""

import ast
import dataclasses
import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augean.config.code_digest import module_code
from augean.config.compose import compose
from augean.config.run_id import canonical, directory_name, run_id
from augean.config.schema import Config, TrainerConfig
from augean.config.validation import flatten_config, parse_config
from augean.errors import ConfigError
from augean.runs.address import find_address
from conftest import ROOT

GOLDEN = json.loads((ROOT / "tests" / "golden_ids.json").read_text())


def identity(*overrides: str) -> str:
    return find_address(compose(overrides)).id


@pytest.mark.parametrize("line", GOLDEN, ids=str)
def test_golden_ids_hold(line: str) -> None:
    assert identity(*line.split()) == GOLDEN[line]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("regularization=l2_1e-4", "regularization.weight_decay=0.0001"),
        ("regularization=l2_1e-4", "regularization.weight_decay=1e-4"),
        ("width=w32", "width.channels=32"),
        ("", "width=w64 activation=leaky_relu optimizer=sgd schedule=plateau experiment=report"),
        ("optimizer.lr=1", "optimizer.lr=1.0"),
        ("optimizer.lr=0.1", "optimizer.lr=1e-1"),
        ("augmentation=none", "augmentation.crop_padding=0 augmentation.flip=false"),
        (
            "",
            (
                "runtime.device=cpu runtime.outputs=elsewhere runtime.threads=1 runtime.workers=3"
                " runtime.progress=none"
            ),
        ),
        (
            "",
            (
                "runtime.table.title=x runtime.compile=true runtime.checkpoint_seconds=0"
                " runtime.data=elsewhere"
            ),
        ),
        ("activation.arguments.negative_slope=1", "activation.arguments.negative_slope=1.0"),
        ("regularization.weight_decay=-0.0", "regularization.weight_decay=0"),
    ],
)
def test_equal_configs_written_differently_are_one_run(one: str, other: str) -> None:
    assert identity(*one.split()) == identity(*other.split())


def test_every_key_outside_runtime_changes_the_id() -> None:
    base = compose(["dataset=digits", "augmentation=none"])
    seen = {run_id(base, "d"): "the base"}
    changed: dict[str, Any] = {
        "model.stem": "imagenet",
        "model.init": "xavier_normal",
        "optimizer.momentum": None,
        "schedule.name": "cosine",
        "trainer.precision": "fp32",
        "trainer.reset_optimizer": "epoch",
        "trainer.freeze": "backbone",
        "dataset.num_train": 500,
        "dataset.transforms": "weights",
        "code_files": [__file__],
    }
    for key, value in flatten_config(base).items():
        name = key.partition(".")[2]
        if name.startswith(("name", "_target_")) and key != "schedule.name":
            continue
        if key == "model.weights":  # by the content of the file
            continue
        raw = dataclasses.asdict(base)
        *path, last = key.split(".")
        node = raw
        for part in path:
            node = node[part]
        if key in changed:
            node[last] = changed[key]
        elif isinstance(value, bool):
            node[last] = not value
        elif isinstance(value, list):
            node[last] = [item / 2 if isinstance(item, float) else item + 1 for item in value]
        elif isinstance(value, float):
            node[last] = value / 2 + 0.1
        elif isinstance(value, int):
            node[last] = value + (8 if name == "image_size" else 1)
        new = run_id(parse_config(raw), "d")
        assert new not in seen, f"{key} changes nothing: same id as {seen.get(new)}"
        seen[new] = key
    assert run_id(base, "other data") not in seen
    assert run_id(base, "d", weights="a digest") not in seen
    assert len(seen) > 30


def test_a_new_neutral_key_changes_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compose(["dataset=digits"])
    wider = dataclasses.make_dataclass(
        "TrainerConfig",
        [("clip_gradient", float, dataclasses.field(default=0.0))],
        bases=(TrainerConfig,),
    )
    after = dataclasses.replace(before, trainer=wider(**vars(before.trainer)))
    assert run_id(after, "d") == run_id(before, "d")
    after.trainer.clip_gradient = 1.0  # type: ignore[attr-defined]
    assert run_id(after, "d") != run_id(before, "d")


values = st.fixed_dictionaries(
    {
        "optimizer.lr": st.floats(1e-6, 10, allow_subnormal=False),
        "regularization.weight_decay": st.floats(0, 1),
        "width.channels": st.integers(1, 512),
        "seed": st.integers(0, 2**31 - 1),
        "trainer.epochs": st.integers(1, 500),
        "trainer.batch_size": st.integers(2, 4096),
        "trainer.deterministic": st.booleans(),
        "dataset.std": st.lists(st.floats(0.01, 2), min_size=3, max_size=3),
    }
)
BASE = dataclasses.asdict(compose(["dataset=digits"]))


def with_values(flat: dict[str, Any], spell: Callable[[Any], Any]) -> Config:
    raw = json.loads(json.dumps(BASE))
    for key, value in flat.items():
        *path, last = key.split(".")
        node = raw
        for part in path:
            node = node[part]
        node[last] = spell(value)
    return parse_config(raw)


@given(values)
@settings(max_examples=40, deadline=None)
def test_values_spelled_as_text_or_as_numbers_have_one_id(flat: dict[str, Any]) -> None:
    def text(value: Any) -> Any:
        return [repr(item) for item in value] if isinstance(value, list) else repr(value).lower()

    assert run_id(with_values(flat, text), "d") == run_id(
        with_values(flat, lambda value: value), "d"
    )


@given(values, values)
@settings(max_examples=40, deadline=None)
def test_different_values_have_different_ids_and_equal_ones_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = with_values(one, lambda value: value), with_values(other, lambda value: value)
    assert (run_id(first, "d") == run_id(second, "d")) == (canonical(first) == canonical(second))
    assert run_id(parse_config(dataclasses.asdict(first)), "d") == run_id(first, "d")


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        ("# a comment\n{}", True),
        ('"""A module docstring."""\n{}', True),
        ("{}\n\n\n", True),
        ("{}\nCONSTANT = 1\n", False),
    ],
)
def test_a_semantic_edit_to_a_users_class_changes_the_id_and_a_comment_does_not(
    edit: str, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = textwrap.dedent('''\
        class Square:
            """Squares."""
            def forward(self, x):
                return x * x
    ''')
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "my_activation.py"
    config = compose(
        [
            "activation._target_=my_activation.Square",
            "runtime.allowed_packages=[torch,augean,my_activation]",
        ]
    )
    ids = []
    for source in (code, edit.format(code)):
        module.write_text(source)
        module_code.cache_clear()
        ids.append(run_id(config, "d"))
    assert (ids[0] == ids[1]) == same
    sys.modules.pop("my_activation", None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("trainer.epochs=0", "trainer.epochs=0: must be at least 1"),
        ("trainer.precision=fp8", "trainer.precision=fp8: must be one of bf16, fp16, fp32"),
        ("optimizer.lr=-1", "optimizer.lr=-1.0: must be above 0"),
        ("optimizer.lr=nan", "optimizer.lr=nan: must be"),
        ("optimizer.lr=inf", "finite"),
        ("+trainer.foo=1", "trainer.foo: Key 'foo' not in 'TrainerConfig'"),
        ("+foo=1", "foo: Key 'foo' not in 'Config'"),
        ("seed=-1", "seed=-1: must be at least 0"),
        ("model.stem=large", "model.stem=large: must be one of cifar, imagenet"),
        ("dataset.num_val=0", "schedule=plateau needs a validation loss"),
        ("dataset.mean=[0.5]", "dataset.mean=[0.5]: must be three finite numbers"),
        ("dataset.std=[0.5,0,0.5]", "must be above 0"),
        ("optimizer._target_=os.system", "only classes of torch, torchvision, augean are allowed"),
        ("optimizer._target_=torch", "must be a dotted class name"),
        ("+optimizer.arguments.weight_decay=0.1", "use regularization.weight_decay"),
        (
            "+optimizer.arguments.momentum=0.1",
            "optimizer.arguments.momentum: use optimizer.momentum",
        ),
        ("+dataset.arguments.image_size=8", "dataset.arguments.image_size: use dataset, its"),
        ("model=resnet18 +model.arguments.stem=imagenet", "model.arguments.stem: use model.stem"),
        (
            "+model.arguments.block._target_=os.system",
            "model.arguments.block._target_: keys that start with '_'",
        ),
        ("dataset.name=../../etc", "dataset.name='../../etc': letters, digits"),
        ("runtime.device=gpu", "runtime.device=gpu: must be auto, cpu, cuda, cuda:<n> or mps"),
        ("dataset=image_folder", "dataset.name"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_valid(
    overrides: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(overrides.split())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "override", ["seed=0,1", "seed=[0,1]", "seed=0,,1", "model=resnet18,vgg_a"]
)
def test_where_no_sweep_can_be_made_none_is_suggested(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert override in str(caught.value)
    assert "-m" not in str(caught.value)


def test_all_range_problems_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["trainer.epochs=0", "trainer.batch_size=1", "seed=-1"])
    assert len(str(caught.value).splitlines()) == 3


def test_the_directory_name_reads_like_the_run() -> None:
    config = compose(["dataset=digits", "width=w16", "seed=3"])
    assert (
        directory_name(config, "0123456789") == "digits-resnet18-leaky_relu-sgd-c16-s3-0123456789"
    )


def test_the_digest_of_a_source_is_the_same_on_every_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
        import torch


        class Square(torch.nn.Module):
            def forward(self, x, *, power: int = 2):
                return [y ** power for y in x if y is not None]
    """
    (tmp_path / "golden_module.py").write_text(textwrap.dedent(code))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert module_code("golden_module").digest == "9894af6eee43f572"


@pytest.mark.parametrize(
    ("node", "values", "message"),
    [
        ("trainer", {"precision": "fp64"}, "trainer.precision=fp64: must be one of bf16, fp16"),
        ("model", {"stem": "large"}, "model.stem=large: must be one of cifar, imagenet"),
        ("runtime", {"loggers": ["print"]}, "runtime.loggers[0]=print: must be one of tensorboard"),
    ],
)
def test_a_wrong_choice_in_a_file_is_named_with_the_choices(
    node: str, values: dict[str, Any], message: str
) -> None:
    raw = dataclasses.asdict(compose(["dataset=digits"]))
    raw[node] |= values
    with pytest.raises(ConfigError) as caught:
        parse_config(raw)
    assert message in str(caught.value)


def test_every_field_of_the_schema_is_documented() -> None:
    tree = ast.parse((ROOT / "src" / "augean" / "config" / "schema.py").read_text())
    for node in (item for item in tree.body if isinstance(item, ast.ClassDef)):
        assert ast.get_docstring(node), node.name
        for item, following in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(item, ast.AnnAssign):
                continue
            is_node = ast.unparse(item.annotation).endswith("Config")
            assert is_node or isinstance(following, ast.Expr), f"{node.name}: {ast.unparse(item)}"


def argument_id(arguments: dict[str, Any]) -> str:
    raw = dataclasses.asdict(compose(["dataset=digits"]))
    raw["model"]["arguments"] = arguments
    return run_id(parse_config(raw), "d")


def test_order_counts_inside_the_value_of_an_argument_and_not_among_arguments() -> None:
    first = {"a": 32, "b": 16}
    second = {"b": 16, "a": 32}
    assert argument_id({"layers": first}) != argument_id({"layers": second})
    assert argument_id({"x": [first]}) != argument_id({"x": [second]})
    assert argument_id(first) == argument_id(second)


def test_keys_of_another_type_are_other_keys_and_equal_numbers_are_one_value() -> None:
    assert argument_id({"x": {1: "a"}}) != argument_id({"x": {"1": "a"}})
    assert argument_id({"x": {"a": 1}}) == argument_id({"x": {"a": 1.0}})


@pytest.mark.parametrize("num_letters", [8, 56, 64])
def test_the_name_of_a_runs_directory_is_bounded_and_its_id_whole(num_letters: int) -> None:
    keys = ("dataset", "model", "activation", "optimizer")
    names = {key: (key + "x" * 64)[:num_letters] for key in keys}
    config = compose([f"{key}.name={name}" for key, name in names.items()])
    name = directory_name(config, "0123456789")
    assert len(name) <= 255
    assert name.endswith("-c64-s0-0123456789")
    assert [part[:5] for part in name.split("-")[:4]] == ["datas", "model", "activ", "optim"]
    if num_letters < 64:  # as it always was
        assert name == "-".join([*names.values(), "c64-s0-0123456789"])


@pytest.mark.parametrize("key", ["trainer.epochs", "optimizer.lr"])
def test_whole_numbers_of_too_many_digits_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: 1000.* has 401 digits; write"):
        compose([f"{key}=1{'0' * 400}"])


def test_a_dictionary_with_a_number_that_no_float_holds_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.crop_area: 1000.* digits"):
        parse_config({"dataset": {"crop_area": 10**400}})
    with pytest.raises(ConfigError, match=r"dataset\.mean\[1\]: 1000.* digits"):
        parse_config({"dataset": {"mean": [0.5, 10**400, 0.5]}})


def test_keys_of_different_types_never_share_an_address() -> None:
    keys = [1, "1", "int 1", "str int 1", 1.5, "float 1.5", True, "bool True"]
    ids = set()
    for key in keys:
        arguments = {"layers": {key: 0}}
        config = parse_config({**BASE, "model": {**BASE["model"], "arguments": arguments}})
        ids.add(run_id(config, "data"))
    assert len(ids) == len(keys)
