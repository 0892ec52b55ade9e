"""Runs that begin from weights: which weights, in the address by content; what is frozen stays."""

import logging
import shlex
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from urllib.error import URLError

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from augean.config.compose import compose
from augean.config.schema import Config
from augean.config.validation import parse_config
from augean.errors import AugeanError, ConfigError, SetupError
from augean.inference.images import read_test_set
from augean.inference.load import load_model
from augean.models.pretrained import find_head, load_pretrained, load_state, read_state
from augean.runs.address import RunOutcome, build_source, find_address
from augean.runs.execute import execute
from augean.runs.weights import find_weights
from augean.store.run_directory import runs_dir
from augean.store.summary import read_summary
from augean.training.build import build_model
from augean.training.data import Batch, Split
from augean.training.optimizer import build_optimizer
from augean.training.step import Step
from commands import augean
from conftest import composed
from contexts import make_context

OTHER_TASK = ("dataset.arguments.num_classes=3", "optimizer.lr=0.01")
"""Another number of classes than that of the pretraining."""


@pytest.fixture
def pretrained(tiny: Callable[..., Config]) -> RunOutcome:
    """A finished run of four classes."""
    return execute(tiny("trainer.epochs=1", "seed=5"))


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where torchvision looks for weights, which is empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def weights_of(outcome: RunOutcome) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(outcome.address.path / "best.pt", weights_only=True)
    return weights


def write_published(folder: Path, network: str = "squeezenet1_1") -> dict[str, Tensor]:
    """Write random weights where torchvision's own would lie."""
    torch.manual_seed(1)
    weights = torchvision.models.get_model(network).state_dict()
    url = torchvision.models.get_model_weights(network).DEFAULT.url
    torch.save(weights, folder / url.rpartition("/")[2])
    return dict(weights)


def test_a_run_begins_from_the_weights_of_another(
    tiny: Callable[..., Config], pretrained: RunOutcome, caplog: pytest.LogCaptureFixture
) -> None:
    before = weights_of(pretrained)
    # So small a rate that a step changes next to nothing.
    with caplog.at_level("INFO"):
        outcome = execute(
            tiny(
                f"model.weights=run:{pretrained.address.id[:6]}", "optimizer.lr=1e-12",
                "dataset.arguments.num_classes=3", "trainer.epochs=1",
            )
        )  # fmt: skip
    after = weights_of(outcome)
    head = find_head(build_model(composed(), 3))
    for name, value in before.items():
        if name.startswith(head):
            assert after[name].shape[0] == 3
        elif "running" not in name and "tracked" not in name:
            torch.testing.assert_close(after[name], value, rtol=0, atol=1e-6)
    assert f"the last layer {head} made anew for 3 classes" in caplog.text
    summary = read_summary(outcome.address.path)
    assert summary is not None
    assert summary.weights_digest == pretrained.summary.files["best.pt"][:16]


def test_the_head_is_loaded_too_where_the_classes_are_the_same(
    tiny: Callable[..., Config], pretrained: RunOutcome
) -> None:
    network = build_model(tiny(), 4)
    weights = weights_of(pretrained)
    assert load_pretrained(network, weights, tuple("abcd"), tuple("abcd")) is None
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    # As many classes, but others.
    assert load_pretrained(network, weights, tuple("abcd"), tuple("wxyz")) == find_head(network)


def test_the_address_has_the_weights_by_their_content(
    tiny: Callable[..., Config], pretrained: RunOutcome, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.pt"
    copy.write_bytes((pretrained.address.path / "best.pt").read_bytes())
    plain = find_address(tiny()).id
    by_run = find_address(tiny(f"model.weights=run:{pretrained.address.id}")).id
    assert by_run == find_address(tiny(f"model.weights={copy}")).id != plain
    # One id, so the same classes however the run's file is named: the last layer depends on them.
    files = []
    for name in (f"run:{pretrained.address.id}", f"{pretrained.address.path}/best.pt"):
        config = tiny(f"model.weights={name}")
        files.append(find_weights(config, build_source(config)))
    assert files[0] is not None
    assert files[1] is not None
    assert files[0].classes == files[1].classes != ()
    copy.write_bytes(copy.read_bytes() + b"more")
    assert find_address(tiny(f"model.weights={copy}")).id not in (by_run, plain)


def test_one_address_begins_in_one_way(
    tiny: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outputs = f"runtime.outputs={tmp_path}/outputs"
    ten = execute(tiny("dataset.arguments.num_classes=10", "trainer.epochs=1"))
    by_run = f"model.weights=run:{ten.address.id}"
    by_copy = f"model.weights={tmp_path}/copy.pt"
    (tmp_path / "copy.pt").write_bytes((ten.address.path / "best.pt").read_bytes())
    # As many classes, of other names. Those of the copy are not known, so its head is loaded.
    digits = [
        *("dataset=digits", "dataset.num_train=64", "width.channels=4", "trainer.epochs=1"),
        *("trainer.batch_size=32", "trainer.precision=fp32", "runtime.progress=none", outputs),
    ]
    outcomes = []
    with caplog.at_level("INFO"):
        for name in (by_run, by_copy):
            outcomes.append(execute(compose([*digits, name])))
    assert f"{by_run}, with the last layer head.2 made anew for 10 classes" in caplog.text
    assert f"{by_copy}, its last layer too: the names of its classes are not known" in caplog.text
    assert outcomes[0].address.id != outcomes[1].address.id
    by_path = f"model.weights={ten.address.path}/best.pt"
    assert find_address(compose([*digits, by_path])).id == outcomes[0].address.id
    # The digest in the summary gives the same address, without the file.
    for outcome in outcomes:
        model = load_model(
            outcome.address.path, data=f"{tmp_path}/data", device="cpu", allowed_packages=[]
        )
        assert len(read_test_set(model)[1]) == outcome.summary.num_test


def test_other_numbers_of_classes_leave_the_address_to_the_content(
    tiny: Callable[..., Config], pretrained: RunOutcome, tmp_path: Path
) -> None:
    # No last layer fits, whoever knows its classes.
    copy = tmp_path / "copy.pt"
    copy.write_bytes((pretrained.address.path / "best.pt").read_bytes())
    ids = {
        find_address(tiny(f"model.weights={name}", *OTHER_TASK)).id
        for name in (f"run:{pretrained.address.id}", str(copy))
    }
    assert len(ids) == 1


def test_a_finished_run_is_evaluated_without_the_weights_that_it_began_from(
    tiny: Callable[..., Config], pretrained: RunOutcome, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes((pretrained.address.path / "best.pt").read_bytes())
    config = tiny(f"model.weights={file}", "trainer.epochs=1")
    outcome = execute(config)
    file.unlink()
    model = load_model(
        outcome.address.path, data=config.runtime.data, device="cpu", allowed_packages=[]
    )
    images, labels = read_test_set(model)
    accuracy = (model.score(images).argmax(1).numpy() == labels).mean()
    assert accuracy == pytest.approx(outcome.summary.test_accuracy)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("nowhere.pt", "model.weights=nowhere.pt: there is no file nowhere.pt; give its path"),
        ("run:abc", "model.weights=run:abc: abc: no run has an id that begins with it"),
        ("DEFAULT", "model.weights=DEFAULT: only networks of model=torchvision"),
    ],
)
def test_weights_that_are_not_there_are_refused(
    tiny: Callable[..., Config], weights: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        find_address(tiny(f"model.weights={weights}"))


@pytest.mark.parametrize("kind", ["run", "file"])
def test_weights_of_a_run_whose_class_names_cannot_be_read_are_refused(
    tiny: Callable[..., Config], pretrained: RunOutcome, kind: str
) -> None:
    path = pretrained.address.path
    weights = f"run:{pretrained.address.id}" if kind == "run" else f"{path}/best.pt"
    (path / "confusion.csv").unlink()
    (path / "confusion.csv").mkdir()
    with pytest.raises(ConfigError, match=r"confusion.csv: cannot be read \(not a regular file\)"):
        find_address(tiny(f"model.weights={weights}"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("width.channels=8", r"another shape: stem.0.weight \[4, 3, 3, 3\] for \[8, 3, 3, 3\]"),
        ("model=vgg_a", r"missing: features.0.weight.* and \d+ more; not in the network: stem"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    tiny: Callable[..., Config], pretrained: RunOutcome, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        execute(tiny(f"model.weights=run:{pretrained.address.id}", override))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, r"must hold a state dict, names with tensors, and nothing else$"),
        (
            {"state_dict": {"a": torch.zeros(1)}, "epoch": 3},
            "nothing else; its entry state_dict is one: save that alone",
        ),
        (
            nn.ReLU(),
            "holds objects of Python, such as torch.nn.modules.activation.ReLU; of a whole",
        ),
        (None, "cannot be read as a file of weights: torch.save has not written it"),
    ],
)
def test_a_file_without_a_state_dict_is_refused(
    tiny: Callable[..., Config], tmp_path: Path, content: object, message: str
) -> None:
    file = tmp_path / "other.pt"
    if content is None:
        file.write_text("no weights")
    else:
        torch.save(content, file)
    with pytest.raises(ConfigError, match=message) as caught:
        execute(tiny(f"model.weights={file}"))
    # Nothing of torch's own messages, which have colours and many lines.
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_under_a_wrappers_names_and_as_safetensors_are_the_same(
    tiny: Callable[..., Config], pretrained: RunOutcome, tmp_path: Path
) -> None:
    weights = weights_of(pretrained)
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    torch.save(wrapped, tmp_path / "wrapped.pt")
    safetensors.torch.save_file(weights, tmp_path / "weights.safetensors")
    for file in ("wrapped.pt", "weights.safetensors"):
        network = build_model(tiny(), 4)
        state = read_state(tmp_path / file)
        assert load_pretrained(network, state, tuple("abcd"), ()) is None
        for name, value in network.state_dict().items():
            assert torch.equal(value, weights[name]), name


def test_weights_of_a_run_that_are_gone_come_back_by_the_command_of_the_message(
    tiny: Callable[..., Config],
    pretrained: RunOutcome,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny(f"model.weights=run:{pretrained.address.id}", "trainer.epochs=1", *OTHER_TASK)
    finished = execute(config)
    (pretrained.address.path / "best.pt").unlink()
    # What is finished stays so; what is not is refused before it has a directory.
    assert execute(config).skipped
    config.seed = 1
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match=r"best.pt is not here; .* augean clean") as caught:
        execute(config)
    assert not find_address(config).path.exists()
    advice, command = str(caught.value).splitlines()
    words = [word.replace("$PWD", str(tmp_path)) for word in shlex.split(command)]
    done = augean(*words[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = advice.rpartition("model.weights=")[2].removesuffix(":")
    assert again == f"run:{runs_dir(tmp_path / 'retrained')}/{pretrained.address.path.name}"
    overrides = [f"model.weights={again}", "trainer.epochs=1", *OTHER_TASK]
    assert find_address(tiny(*overrides)).id == finished.address.id


def test_a_diverged_run_has_no_weights_to_begin_from(tiny: Callable[..., Config]) -> None:
    diverged = execute(tiny("optimizer.lr=1e20", "regularization.weight_decay=1"))
    with pytest.raises(ConfigError, match="diverged, so it has no weights; name another run"):
        find_address(tiny(f"model.weights=run:{diverged.address.id}"))


def test_a_frozen_part_with_random_weights_is_trained_with_a_warning(
    tiny: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    outcome = execute(tiny("trainer.freeze=backbone", "trainer.epochs=1"))
    warning = "trainer.freeze=backbone keeps random weights as they are"
    assert warning in caplog.text
    assert warning in (outcome.address.path / "train.log").read_text()


def test_published_weights_are_loaded_from_torchvisions_cache(torch_home: Path) -> None:
    weights = write_published(torch_home)
    network = torchvision.models.squeezenet1_1()
    categories = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.meta["categories"]
    config = compose(["model=torchvision", "model.arguments.name=squeezenet1_1"])
    ours = build_model(config, 1000).eval()
    assert load_pretrained(ours, weights, categories, categories) is None
    network.load_state_dict(weights)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images), network.eval()(images))


def test_a_run_begins_from_published_weights(
    tiny: Callable[..., Config], torch_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = write_published(torch_home)
    network = ["model=torchvision", "model.arguments.name=squeezenet1_1", "width.channels=null"]
    size = ["dataset.image_size=32", "dataset.num_train=64", "trainer.epochs=1"]
    caplog.set_level("INFO")
    outcome = execute(tiny(*network, *size, "model.weights=DEFAULT", "trainer.freeze=backbone"))
    assert "made for 224x224 images, these are 32x32; dataset=photos" in caplog.text
    after = weights_of(outcome)
    assert all(
        torch.equal(value, weights[name]) != name.startswith("classifier.1")
        for name, value in after.items()
    )
    assert outcome.address.id == find_address(
        tiny(*network, *size, "model.weights=IMAGENET1K_V1", "trainer.freeze=backbone")
    ).id  # fmt: skip


def test_without_a_network_the_message_says_which_file_goes_where(
    torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    config = compose(["model=torchvision", "model.weights=DEFAULT", "dataset=synthetic"])
    with pytest.raises(AugeanError) as caught:
        find_address(config)
    message = str(caught.value)
    assert f"resnet18-f37072fd.pth is not in {torch_home}" in message
    assert "put it there, from https://" in message
    assert "resnet18-f37072fd.pth" in message


def test_names_of_weights_that_torchvision_does_not_have_are_refused() -> None:
    config = compose(["model=torchvision", "model.weights=IMAGENET21K", "dataset=synthetic"])
    with pytest.raises(ConfigError, match="There are IMAGENET1K_V1, DEFAULT"):
        find_address(config)


def test_old_names_of_densenets_weights_and_auxiliary_parts_are_understood() -> None:
    network = torchvision.models.densenet121(num_classes=4)
    state = network.state_dict()
    old: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            is_layer = "denselayer" in name
            renamed = name.replace("norm1", "norm.1").replace("conv2", "conv.2")
            old[renamed if is_layer else name] = value + 1
    old["AuxLogits.fc.weight"] = torch.zeros(3)
    assert load_pretrained(network, old, tuple("abcd"), ()) is None
    assert torch.equal(network.state_dict()["features.conv0.weight"], old["features.conv0.weight"])


def test_weights_without_versions_are_those_of_the_current_mnasnet() -> None:
    network = torchvision.models.mnasnet0_5(num_classes=4)
    plain = {name: value.clone() for name, value in network.state_dict().items()}
    load_state(network, plain)
    shapes = {name: value.shape for name, value in plain.items()}
    assert {name: value.shape for name, value in network.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("freeze", "is_frozen"),
    [
        ("backbone", lambda name: not name.startswith("head.")),
        ("until stages.1", lambda name: name.startswith(("stem.", "stages.0.", "stages.1."))),
        ("until stem.1", lambda name: name.startswith("stem.")),
    ],
)
def test_a_frozen_part_is_bit_identical_after_training(
    tiny: Callable[..., Config],
    pretrained: RunOutcome,
    freeze: str,
    is_frozen: Callable[[str], bool],
) -> None:
    before = weights_of(pretrained)
    start = f"model.weights=run:{pretrained.address.id}"
    outcome = execute(tiny(start, f"trainer.freeze={freeze}", "trainer.epochs=2", *OTHER_TASK))
    for name, value in weights_of(outcome).items():
        assert torch.equal(value, before[name]) == is_frozen(name), name


def test_a_frozen_and_pretrained_run_is_resumed_exactly(
    tiny: Callable[..., Config],
    pretrained: RunOutcome,
    train_until: Callable[[Config, int], None],
    tmp_path: Path,
) -> None:
    settings = [
        f"model.weights={pretrained.address.path}/best.pt",
        "trainer.freeze=until stages.0",
        "optimizer.head_lr_factor=10",
        *OTHER_TASK,
    ]
    whole = execute(tiny(*settings, f"runtime.outputs={tmp_path}/whole"))
    train_until(tiny(*settings), 2)
    resumed = execute(tiny(*settings))
    assert resumed.summary.num_resumes == 1
    assert weights_of(resumed).keys() == weights_of(whole).keys()
    for name, value in weights_of(resumed).items():
        assert torch.equal(value, weights_of(whole)[name]), name


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("until stages.9", r"trainer.freeze=until stages.9: the network has no module stages.9"),
        ("until head", r"trainer.freeze=until head: head is or holds the head head"),
        ("head", r"trainer.freeze=head: must be none, backbone or 'until <module>'"),
        ("until", r"trainer.freeze=until: must be none"),
    ],
)
def test_what_cannot_be_frozen_is_refused(
    tiny: Callable[..., Config], freeze: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(parse_config(with_freeze(tiny(), freeze)), 4)


def with_freeze(config: Config, freeze: str) -> dict[str, object]:
    values = asdict(config)
    values["trainer"]["freeze"] = freeze
    return values


def test_the_head_has_a_learning_rate_of_its_own() -> None:
    config = compose(["width=w8", "optimizer.lr=0.5", "optimizer.head_lr_factor=4"])
    network = build_model(config, 10)
    optimizer = build_optimizer(config, network)
    body, head = optimizer.param_groups
    layer = network.get_submodule(find_head(network))
    assert isinstance(layer, nn.Linear)
    assert [id(parameter) for parameter in head["params"]] == [id(layer.weight), id(layer.bias)]
    assert (body["lr"], head["lr"]) == (0.5, 2.0)
    assert len(body["params"]) + 2 == len(list(network.parameters()))


def test_a_larger_rate_of_the_head_moves_it_by_as_much_more(tiny: Callable[..., Config]) -> None:
    torch.manual_seed(0)
    split = Split(torch.randint(256, (8, 16, 16, 3)).byte(), torch.arange(8) % 4)
    moves = []
    for factor in (1, 4):
        context = make_context(tiny(f"optimizer.head_lr_factor={factor}"), split)
        head = context.network.get_submodule(find_head(context.network))
        body = next(context.network.parameters())
        before = [head.weight.detach().clone(), body.detach().clone()]  # type: ignore[union-attr]
        step = Step(context)
        step.set_lr(0.25)
        torch.manual_seed(3)
        step(Batch(torch.arange(8)))
        moves.append([head.weight - before[0], body - before[1]])  # type: ignore[operator]
    torch.testing.assert_close(moves[1][0], 4 * moves[0][0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(moves[1][1], moves[0][1], rtol=0, atol=0)
