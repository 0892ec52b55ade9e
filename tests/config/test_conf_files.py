"""Every file in conf/ and sweeps/ composes, passes the checks and builds."""

from collections.abc import Iterator

import hydra
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from augean.config.compose import compose
from augean.config.labels import find_label, row_label
from augean.config.schema import TableConfig
from augean.config.validation import flatten_config, parse_config
from augean.runs.address import build_source
from augean.sweeps.sweep_overrides import expand
from augean.training.build import build_activation, build_model
from augean.training.model_summary import describe_model
from augean.training.optimizer import build_optimizer
from conftest import ROOT, composed

SWEEPS = sorted(path.stem for path in (ROOT / "sweeps").glob("*.yaml"))


def group_files() -> Iterator[str]:
    for path in sorted((ROOT / "conf").glob("*/*.yaml")):
        yield f"{path.parent.name}={path.stem}"


@pytest.mark.parametrize("override", list(group_files()))
def test_every_group_option_composes_and_builds(override: str) -> None:
    if override == "launcher=ray":
        pytest.importorskip(
            "hydra_plugins.hydra_ray_launcher", reason="not installed: pip install 'augean[ray]'"
        )
    extra = ["width.channels=4"]
    if override in ("model=torchvision", "activation=native", "width=native"):
        # The three belong together, and the first brings the others.
        extra = ["model=torchvision"]
    if override in ("dataset=image_folder", "dataset=photos"):
        extra.append("dataset.name=photos")
    if override == "experiment=transfer":
        extra = ["dataset.name=photos"]
    config = compose([override, *extra])
    build_source(config)
    build_activation(config)
    describe_model(config, num_classes=10)
    network = build_model(config, num_classes=10)
    optimizer = build_optimizer(config, network)
    assert optimizer.param_groups[0]["lr"] == config.optimizer.lr
    assert optimizer.param_groups[0]["weight_decay"] == config.regularization.weight_decay
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(network.parameters())
    )


@pytest.mark.parametrize("model", ["resnet18", "vgg_a", "vgg_a_bn"])
@pytest.mark.parametrize("dataset", ["digits", "synthetic"])
def test_models_take_the_images_of_every_size(model: str, dataset: str) -> None:
    description = describe_model(compose([f"model={model}", f"dataset={dataset}", "width=w8"]), 10)
    assert description["modules"][-1]["output"] == [10]
    assert all(module["parameters"] >= 0 for module in description["modules"])


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_file_composes_names_its_rows_and_says_what_it_is(name: str) -> None:
    path = ROOT / "sweeps" / f"{name}.yaml"
    header = path.read_text().split("defaults:")[0]
    assert all(word in header for word in ("Source:", "Command:", "Cost:")), (
        f"{path}: the header says too little"
    )
    with hydra.initialize_config_dir(str(path.parent)):
        raw = hydra.compose(
            name, [f"hydra.searchpath=[file://{ROOT / 'conf'}]"], return_hydra_config=True
        )
    body = OmegaConf.load(path)
    assert set(body) <= {"defaults", "hydra", "runtime"}
    assert set(body.get("runtime", {})) <= {"table"}
    assert raw.hydra.mode.name == "MULTIRUN"
    table: TableConfig = raw.runtime.table
    assert table.title
    for key in str(table.row).split(",") if table.row is not None else []:
        assert OmegaConf.select(raw, key.strip()) is not None


@pytest.mark.parametrize("name", SWEEPS)
def test_every_row_of_a_sweep_file_builds_and_its_baseline_and_references_are_rows(
    name: str,
) -> None:
    body = OmegaConf.load(ROOT / "sweeps" / f"{name}.yaml")
    if "n_trials" in body.hydra.sweeper or "rows" in body.hydra.sweeper:
        pytest.skip("a study's points, and its winners, are known when it runs: see test_study.py")
    params = {key: value for key, value in body.hydra.sweeper.params.items() if key != "seed"}
    lines = [f"{key}={'null' if value is None else value}" for key, value in params.items()]
    overrides = OverridesParser.create().parse_overrides(lines)
    table = body.runtime.table
    rows = set()
    for point in expand(overrides):
        with hydra.initialize_config_dir(str(ROOT / "sweeps")):
            raw = hydra.compose(
                name, [f"hydra.searchpath=[file://{ROOT / 'conf'}]", *point, "width.channels=4"]
            )
        config = parse_config(raw)
        build_optimizer(config, build_model(config, 10))
        own_width = [item for item in point if item.startswith("width=")]
        flat = flatten_config(composed(*own_width)) | flatten_config(config)
        if "width" in params:
            flat["width.channels"] = int(
                next(item for item in point if item.startswith("width=")).split("=w")[1]
            )
        keys = [key.strip() for key in table.row.split(",")]
        if "column" in table:
            keys.append(table.column)
        rows.add(", ".join(row_label(flat[key]) for key in keys))
    for row in table.get("reference", {}):
        assert find_label(row, rows) is not None, row
    if table.get("baseline") is not None:
        assert find_label(table.baseline, rows) is not None


def test_one_learning_rate_for_all_in_the_report_and_a_sensible_one_each_otherwise() -> None:
    for optimizer, rate in {
        "sgd": 0.1,
        "adam": 1e-3,
        "adamw": 1e-3,
        "adagrad": 1e-2,
        "rmsprop": 1e-3,
    }.items():
        assert compose([f"optimizer={optimizer}"]).optimizer.lr == rate
        assert compose([f"optimizer={optimizer}", "experiment=report"]).optimizer.lr == 0.1


def test_the_defaults_are_the_reports_baseline() -> None:
    config = compose()
    assert (config.model.name, config.activation.name, config.optimizer.name) == (
        "resnet18",
        "leaky_relu",
        "sgd",
    )
    assert (config.width.channels, config.trainer.epochs, config.trainer.batch_size) == (
        64,
        35,
        128,
    )
    assert (config.optimizer.lr, config.optimizer.momentum, config.regularization.weight_decay) == (
        0.1,
        0.9,
        0.0,
    )
    schedule = config.schedule
    assert (schedule.name, schedule.factor, schedule.patience, schedule.threshold) == (
        "plateau",
        0.5,
        9,
        0.0,
    )
    assert (config.augmentation.crop_padding, config.augmentation.flip) == (4, True)


def test_without_augmentation_the_images_stay_as_they_are() -> None:
    config = compose(["augmentation=none"])
    assert (config.augmentation.crop_padding, config.augmentation.flip) == (0, False)
    digits = compose(["dataset=digits"])
    assert (digits.augmentation.crop_padding, digits.augmentation.flip) == (1, False)


def test_a_meta_device_description_equals_the_real_network() -> None:
    config = compose(["width=w8"])
    network = build_model(config, 10)
    assert describe_model(config, 10)["parameters"] == sum(p.numel() for p in network.parameters())
    assert torch.get_default_device().type == "cpu"
