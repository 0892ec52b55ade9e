"""Generated command lines, config files and damaged folders: clean runs or clear errors, never
another address.

`make test` takes a few of each, `make test-slow` all of them (`NUM_SLOW`). The examples of
one seed are the same everywhere; HYPOTHESIS_SEED sets another.
"""

import contextlib
import io
import json
import math
import os
import random
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from augean.cli.main import main
from augean.config.compose import compose
from augean.config.run_id import canonical, directory_name, run_id
from augean.config.schema import Config
from augean.config.validation import flatten_config, parse_config
from augean.errors import AugeanError
from augean.report import make_report
from augean.store.files import json_digest
from augean.store.run_directory import runs_dir
from augean.training.build import build_model
from augean.training.optimizer import build_optimizer
from conftest import ROOT
from fake_runs import forge, sign, write_record, write_run

SEED = int(os.environ.get("HYPOTHESIS_SEED", "0"))
NUM_SLOW = {"commands": 2000, "files": 600, "parsed": 7500, "folders": 150, "lines": 40}
CHARACTERS = st.characters(codec="utf-8") | st.sampled_from(
    "=[]{}(),.:'\"\\$~+*@!#&|<>/ \t\n\0\u2028é"
)
TEXT = st.text(CHARACTERS, max_size=12)
NUMBERS = st.one_of(
    st.integers(-5, 300),
    st.integers(-(10**25), 10**25),
    st.floats(width=64),
    st.sampled_from([0.0, -0.0, 1e-4, 0.1, 1e400, 2**53, 2**53 + 1, 10**400]),
)
SCALARS = st.one_of(
    NUMBERS,
    st.booleans(),
    st.none(),
    TEXT,
    st.sampled_from(["???", "${seed}", "${oc.env:HOME}", "1e-4"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    *flatten_config(Config()),
    "runtime.outputs",
    "runtime.device",
    "runtime.threads",
    "runtime.allowed_packages",
]
KEYS += [
    "runtime.table.reference",
    "runtime.table.row",
    "runtime",
    "seed",
    "model",
    "optimizer.arguments.nesterov",
]
OPTIONS = {
    path.name: sorted(file.stem for file in path.glob("*.yaml"))
    for path in (ROOT / "conf").iterdir()
    if path.is_dir()
}
TARGETS = [
    "torch.nn.ReLU", "torch.nn.Module", "torch.optim.SGD", "torch.optim.LBFGS", "torch.hub.load",
    "os.system", "subprocess.Popen", "torch.nn", "torch", "augean.models.vgg.VGG",
    "augean.__main__.main", "torch.nn.Softmax2d", "torch.nn.CrossEntropyLoss", "torch..nn", ".",
    "torch.optim.ＳＧＤ", "augean.datasets.digits.Digits",
]  # fmt: skip


def common(count: int, *phases: Phase) -> Callable[[Any], Any]:
    """The same examples each time, as many as asked for, none of them kept."""

    def decorate(test: Any) -> Any:
        chosen = settings(
            max_examples=count,
            phases=phases or tuple(Phase),
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        return seed(SEED)(chosen(test))

    return decorate


def spelled(value: Any) -> str:
    """A value as Hydra's command line has it; what that cannot express is left as Python writes
    it.
    """
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(spelled, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{spelled(item)}' for key, item in value.items())}}}"
    return str(value)


OVERRIDES = st.one_of(
    st.builds(lambda key, value: f"{key}={spelled(value)}", st.sampled_from(KEYS), VALUES),
    st.sampled_from(sorted(OPTIONS)).flatmap(
        lambda group: st.sampled_from(OPTIONS[group]).map(lambda option: f"{group}={option}")
    ),
    st.builds(
        lambda group, target: f"{group}._target_={target}",
        st.sampled_from(["model", "activation", "optimizer", "dataset"]),
        st.sampled_from(TARGETS),
    ),
    st.builds(
        lambda sign, key, value: f"{sign}{key}={spelled(value)}",
        st.sampled_from(["+", "++", "~"]),
        TEXT,
        SCALARS,
    ),
    st.builds(
        lambda key, value: f"+{key}={spelled(value)}",
        st.sampled_from(KEYS).map("{}.x".format),
        VALUES,
    ),
    TEXT,
)
COMMANDS = st.lists(OVERRIDES, max_size=4)


def check_address(config: Config) -> None:
    """What parses has one address, whatever way it is spelled, in a name that stays in the folder
    of runs.
    """
    identity = run_id(config, "data")
    assert len(identity) == 10
    assert set(identity) <= set("0123456789abcdef")
    name = directory_name(config, identity)
    assert Path(name).name == name
    assert Path("runs", name).resolve().parent == Path("runs").resolve()
    again = parse_config(json.loads(json.dumps(asdict(config))))
    assert run_id(again, "data") == identity
    spelled_as_yaml = parse_config(yaml.safe_load(yaml.safe_dump(asdict(config))))
    assert run_id(spelled_as_yaml, "data") == identity


ADDRESSES: dict[str, str] = {}


def check_unique(config: Config) -> None:
    """No two configs of all that were generated share an address unless they say the same."""
    text = json.dumps(canonical(config), sort_keys=True)
    assert ADDRESSES.setdefault(run_id(config, "data"), text) == text


def made_or_refused(make: Callable[[], Config]) -> None:
    try:
        config = make()
        # Where it is hashed, a config is refused whose `code_files` cannot be read.
        run_id(config, "data")
    except AugeanError as error:
        message = str(error)
    else:
        check_address(config)
        check_unique(config)
        message = "none"
    assert message.strip()


def compose_or_refuse(overrides: list[str]) -> None:
    made_or_refused(lambda: compose(overrides))


def test_generated_command_lines_compose_or_are_refused() -> None:
    common(40)(given(COMMANDS)(compose_or_refuse))()


@pytest.mark.slow
def test_many_generated_command_lines_compose_or_are_refused() -> None:
    common(NUM_SLOW["commands"])(given(COMMANDS)(compose_or_refuse))()


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        node = result
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                return {}
        node[last] = value
    return result


BASE = asdict(compose(["dataset=digits"]))
CONTENTS = st.dictionaries(st.sampled_from(KEYS) | TEXT, VALUES, max_size=4)
TAGS = st.sampled_from([
    "!!python/object/apply:os.system ['true']", "!!binary aGVsbG8=", "!!set {a, b}", "2020-01-01",
    "012", "1:30", "!!timestamp 2020-01-01", "!!python/object/apply:pathlib.Path [x]", "&a [*a]",
    "*nothing", "0x1F", "1_000", "~", ".inf", "<<: x", "[" * 200, "{a: b", "'open", "- - -",
    "!!float nope", "!!int 1.5", "yes", "? complex\n: key", "\t", "%YAML 9.9",
])  # fmt: skip


def merge(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        key: (
            merge(one[key], other[key])
            if isinstance(one.get(key), dict) and isinstance(other.get(key), dict)
            else other.get(key, one.get(key))
        )
        for key in {**one, **other}
    }


def fuzz_files(folder: Path, count: int) -> None:
    """Whole files, as a run directory has them, with tags and other oddities of YAML."""

    def check(content: dict[str, Any], tag: str, key: str) -> None:
        body = {
            name: value for name, value in merge(BASE, nested(content)).items() if name != "runtime"
        }
        text = yaml.safe_dump({"defaults": ["augean", "_self_"], **body}) + (
            f"\n{key}: {tag}\n" if tag else ""
        )
        (folder / "config.yaml").write_bytes(text.encode(errors="surrogatepass"))
        made_or_refused(lambda: compose([], folder=folder))

    oddities = (st.just("") | TAGS, st.sampled_from(["seed", "x", "model", "dataset.arguments"]))
    common(count)(given(CONTENTS, *oddities)(check))()


def fuzz_parsed(count: int) -> None:
    """Contents of config files, as YAML gives them back."""

    def check(content: dict[str, Any]) -> None:
        read = yaml.safe_load(yaml.safe_dump(merge(BASE, nested(content))))
        made_or_refused(lambda: parse_config(read))

    common(count)(given(CONTENTS)(check))()


def test_generated_config_files_compose_or_are_refused(tmp_path: Path) -> None:
    fuzz_files(tmp_path, 12)
    fuzz_parsed(100)


@pytest.mark.slow
def test_many_generated_config_files_compose_or_are_refused(tmp_path: Path) -> None:
    fuzz_files(tmp_path, NUM_SLOW["files"])
    fuzz_parsed(NUM_SLOW["parsed"])


BUILT = st.fixed_dictionaries(
    {},
    optional={
        "model._target_": st.sampled_from(TARGETS),
        "activation._target_": st.sampled_from(TARGETS),
        "optimizer._target_": st.sampled_from(TARGETS),
        "optimizer.arguments": st.dictionaries(
            st.sampled_from(["nesterov", "betas", "eps", "x"]), SCALARS, max_size=2
        ),
        "model.arguments": st.dictionaries(
            st.sampled_from(["blocks", "batch_norm", "stem", "x"]), VALUES, max_size=2
        ),
        "activation.arguments": st.dictionaries(
            st.sampled_from(["inplace", "negative_slope"]), SCALARS, max_size=2
        ),
        "width.channels": st.integers(1, 3),
        "optimizer.momentum": st.none() | st.floats(0, 1),
    },
)


@common(40)
@given(BUILT)
def test_what_a_generated_config_names_is_built_or_refused(flat: dict[str, Any]) -> None:
    import torch

    from augean.training.model_summary import describe_model

    try:
        config = parse_config(merge(BASE, nested(flat)))
        describe_model(config, 10)
        with torch.device("meta"):
            network = build_model(config, 10)
        build_optimizer(config, network)
    except AugeanError:
        return


@common(25)
@given(st.floats(1e-300, 1e300), st.integers(1, 10**6))
def test_a_number_has_one_address_however_it_is_written(rate: float, channels: int) -> None:
    ways = [repr(rate), f"{rate:.17e}", rate]
    ids = {
        run_id(
            parse_config(merge(BASE, {"optimizer": {"lr": way}, "width": {"channels": channels}})),
            "d",
        )
        for way in ways
    }
    assert len(ids) == 1
    other = math.nextafter(rate, math.inf)
    assert (
        run_id(
            parse_config(
                merge(BASE, {"optimizer": {"lr": other}, "width": {"channels": channels}})
            ),
            "d",
        )
        not in ids
    )


def test_large_whole_numbers_in_arguments_keep_their_own_addresses() -> None:
    values = [2**53, 2**53 + 1, 10**20, 10**20 + 1, 10**400]
    ids = [
        run_id(parse_config(merge(BASE, {"model": {"arguments": {"x": value}}})), "d")
        for value in values
    ]
    assert len(set(ids)) == len(values)
    same = [
        run_id(parse_config(merge(BASE, {"model": {"arguments": {"x": value}}})), "d")
        for value in (10**20, 1e20)
    ]
    assert len(set(same)) == 1


# Damaged folders


def add_recordings(path: Path) -> None:
    """Step losses and probes, as a run has them that records them."""
    numpy.save(path / "steps.npy", numpy.linspace(2, 1, 30, dtype=numpy.float32))
    names = "step,lr,step_size,loss,gradient_distance,gradient_cosine,smoothness"
    rows = [
        f"{step},0.1,{size},{2 - step / 10},{size / 2},0.9,{1 + size}"
        for step in (0, 5)
        for size in (0, 0.1, 0.2)
    ]
    (path / "probe.csv").write_text("\n".join([names, *rows]) + "\n")
    sign(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of two runs and two records, small enough to be reported hundreds of times."""
    outputs = tmp_path_factory.mktemp("fuzz") / "outputs"
    jobs = [write_run(outputs, seed=seed, epochs=3) for seed in (0, 1)]
    write_record(
        outputs, "one", jobs, row_key="activation.name", baseline="leaky_relu", band="model.name"
    )
    for job in jobs:
        add_recordings(runs_dir(outputs) / job["run"])
    alone = write_run(outputs, epochs=3, activation__name="elu")
    trial = {
        **alone,
        "trial": 0,
        "state": "complete",
        "score": 0.5,
        "values": {"optimizer.lr": 0.1},
    }
    write_record(
        outputs,
        "two",
        [alone, trial],
        kind="study",
        num_trials=1,
        space={"optimizer.lr": "interval(0,1)"},
    )
    return outputs


RUBBISH = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    TEXT,
    st.lists(SCALARS, max_size=2),
    st.dictionaries(TEXT, SCALARS, max_size=2),
    st.sampled_from(["../../..", "a\0b", "x" * 300, "\udcff", "/", ".", "NaN", "<script>"]),
    st.sampled_from([[[]], [{}], {"a": {"b": []}}]),
)
KINDS = ("value", "remove", "bytes", "cut", "gone", "folder", "swap")


def mutate(outputs: Path, generator: random.Random, value: Any) -> None:
    """Do one harm to one file: to a value in its JSON, signed anew as a stranger would, or to its
    bytes.
    """
    files = sorted(
        path for path in outputs.rglob("*") if path.is_file() and "report" not in path.parts
    )
    file, kind = generator.choice(files), generator.choice(KINDS)
    if kind in ("value", "remove"):
        jsons = [path for path in files if path.suffix == ".json"]
        file = generator.choice(jsons)
        mutate_json(file, generator, value, remove=kind == "remove")
    elif kind == "bytes":
        content = bytearray(file.read_bytes() or b" ")
        content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        file.write_bytes(bytes(content))
    elif kind == "cut":
        content = file.read_bytes()
        file.write_bytes(content[: generator.randrange(len(content) + 1)])
    elif kind == "gone":
        file.unlink()
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(generator.choice(files).read_bytes())
    if generator.random() < 0.3:  # as a stranger would
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            forge(file.parent)


def mutate_json(file: Path, generator: random.Random, value: Any, *, remove: bool) -> None:
    try:
        content = json.loads(file.read_text())
    except (ValueError, OSError):
        return
    node, places = content, list[tuple[Any, Any]]()
    stack = [node]
    while stack:
        node = stack.pop()
        inner = (
            node.items()
            if isinstance(node, dict)
            else enumerate(node)
            if isinstance(node, list)
            else ()
        )
        for key, item in inner:
            places.append((node, key))
            stack.append(item)
    if not places:
        return
    node, key = generator.choice(places)
    if remove and isinstance(node, dict):
        del node[key]
    else:
        node[key] = value
    if isinstance(content, dict) and "sha256" in content:
        with contextlib.suppress(TypeError):
            content["sha256"] = json_digest(content)
    file.write_text(json.dumps(content))


def look_at_everything(outputs: Path) -> None:
    """Report and status, as a person would ask for them."""
    make_report(outputs)
    for words in (["status"], ["promote", "two", "--to", str(outputs / "tuned.yaml")]):
        with (
            patch.object(sys, "argv", ["augean", *words, "--outputs", str(outputs)]),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            contextlib.suppress(SystemExit),
        ):
            main()


def fuzz_folders(folder: Path, tmp_path: Path, count: int) -> None:
    numbers = iter(range(10**9))

    def check(harms: list[tuple[int, Any]]) -> None:
        outputs = tmp_path / str(next(numbers))
        shutil.copytree(folder, outputs)
        for number, value in harms:
            mutate(outputs, random.Random(number), value)
        look_at_everything(outputs)
        shutil.rmtree(outputs)

    harm = st.tuples(st.integers(0, 2**32), RUBBISH)
    # Not shrunk: the harms hang on seeds, and each look takes long.
    common(count, Phase.generate)(given(st.lists(harm, min_size=1, max_size=3))(check))()


def test_reports_and_states_of_damaged_folders_are_no_traceback(
    folder: Path, tmp_path: Path
) -> None:
    fuzz_folders(folder, tmp_path, 5)


@pytest.mark.slow
def test_reports_and_states_of_many_damaged_folders_are_no_traceback(
    folder: Path, tmp_path: Path
) -> None:
    fuzz_folders(folder, tmp_path, NUM_SLOW["folders"])


# Whole command lines


def run_lines(tmp_path: Path, count: int) -> None:
    """Through the real entry, each in a process; a valid one only prints its config."""
    generator, lines = random.Random(SEED), list[list[str]]()
    common(count)(given(COMMANDS)(lambda words: lines.append(words)))()
    generator.shuffle(lines)
    for words in lines[:count]:
        safe = [
            word
            for word in words
            if "\0" not in word and not unicodedata.normalize("NFC", word).startswith("-")
        ]
        command = [
            sys.executable,
            str(ROOT / "train.py"),
            "--cfg",
            "job",
            f"runtime.outputs={tmp_path}/outputs",
            *safe,
        ]
        done = subprocess.run(command, capture_output=True, timeout=120, cwd=tmp_path)
        assert b"Traceback" not in done.stderr, (safe, done.stderr.decode(errors="replace"))
        assert done.returncode in (0, 1, 2), safe


def test_generated_command_lines_through_the_real_entry(tmp_path: Path) -> None:
    run_lines(tmp_path, 3)


@pytest.mark.slow
def test_many_generated_command_lines_through_the_real_entry(tmp_path: Path) -> None:
    run_lines(tmp_path, NUM_SLOW["lines"])
