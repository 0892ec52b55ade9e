"""`dataset.transforms=weights`: images are prepared as belongs to the weights, wherever used."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.models import EfficientNet_B1_Weights, get_model_weights

from augean.config.compose import compose
from augean.config.schema import Config
from augean.errors import ConfigError
from augean.inference.images import read_images, read_test_set
from augean.inference.load import load_model
from augean.runs.address import fill_open_values, find_address
from augean.runs.execute import execute
from augean.store.run_directory import runs_dir

NETWORK = ("model=torchvision", "model.arguments.name=efficientnet_b1")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photographs of two classes, of several sizes."""
    generator = np.random.default_rng(0)
    for index in range(48):
        name = "bright" if index % 2 else "dark"
        low = 120 * (index % 2)
        size = (20 + index % 5, 26 - index % 4, 3)
        pixels = generator.integers(low, low + 120, size).astype(np.uint8)
        path = tmp_path / "data" / "rooms" / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "data"


def of_photos(photos: Path, *overrides: str) -> Config:
    settings = ["dataset=photos", "dataset.name=rooms", "dataset.num_val=8", *overrides]
    return compose([*settings, f"runtime.data={photos}", f"runtime.outputs={photos.parent}/out"])


def test_photos_get_the_size_and_colours_of_the_networks_weights(photos: Path) -> None:
    dataset = fill_open_values(of_photos(photos, *NETWORK)).dataset
    preset = EfficientNet_B1_Weights.DEFAULT.transforms()
    assert [dataset.image_size] == preset.crop_size
    assert [dataset.arguments["resize"]] == preset.resize_size
    assert dataset.arguments["interpolation"] == preset.interpolation.value
    assert (dataset.mean, dataset.std) == (preset.mean, preset.std)
    assert dataset.transforms == "own"


def test_the_same_values_written_out_are_the_same_run(photos: Path) -> None:
    preset = get_model_weights("resnet18").DEFAULT.transforms()
    network = ["model=torchvision", "model.arguments.name=resnet18"]
    written = of_photos(
        photos,
        *network,
        "dataset.transforms=own",
        f"dataset.image_size={preset.crop_size[0]}",
        f"++dataset.arguments.resize={preset.resize_size[0]}",
        "++dataset.arguments.interpolation=bilinear",
    )
    assert find_address(written) == find_address(of_photos(photos, *network))


def test_a_mistyped_network_is_named_before_its_weights(photos: Path) -> None:
    network = ["model=torchvision", "model.arguments.name=resnet_18"]
    with pytest.raises(ConfigError, match=r"^model.arguments: name=resnet_18: .* mean resnet18"):
        fill_open_values(of_photos(photos, *network))


@pytest.mark.parametrize(
    "given",
    ["dataset.image_size=64", "dataset.mean=[0.5,0.5,0.5]", "++dataset.arguments.resize=72"],
)
def test_values_that_the_weights_would_replace_are_refused(photos: Path, given: str) -> None:
    message = f"{given.lstrip('+').split('=')[0]}=.*add dataset.transforms=own"
    with pytest.raises(ConfigError, match=message):
        fill_open_values(of_photos(photos, *NETWORK, given))
    written = ["dataset.image_size=240", "++dataset.arguments.resize=255"]
    assert fill_open_values(of_photos(photos, *NETWORK, *written)).dataset.image_size == 240


def test_networks_without_published_weights_need_values_of_their_own(photos: Path) -> None:
    with pytest.raises(ConfigError, match=r"transforms=weights: only model\.weights=run:<id>"):
        fill_open_values(of_photos(photos))


def test_a_run_trains_predicts_and_is_evaluated_on_images_prepared_alike(
    photos: Path, tiny: Callable[..., Config]
) -> None:
    small = ["width.channels=4", "trainer.precision=fp32", "trainer.batch_size=16"]
    size = ["dataset.image_size=16", "++dataset.arguments.resize=18", "dataset.transforms=own"]
    first = execute(of_photos(photos, *small, *size, "trainer.epochs=1"))
    config = of_photos(
        photos, *small, "trainer.epochs=1", f"model.weights=run:{first.address.id}", "seed=1"
    )
    outcome = execute(config)
    summary = outcome.summary.config
    assert (summary["dataset.image_size"], summary["dataset.arguments.resize"]) == (16, 18)
    assert (summary["augmentation.crop_area"], summary["augmentation.crop_padding"]) == (0.25, 0)
    path = runs_dir(Path(config.runtime.outputs)) / outcome.address.path.name
    model = load_model(path, data=str(photos), device="cpu", allowed_packages=[])
    files = sorted(str(file) for file in (photos / "rooms").glob("*/*.png"))
    images = {image.tobytes() for image in read_images(model, files)}
    tested, labels = read_test_set(model)
    assert len(tested)
    assert {image.tobytes() for image in tested} <= images
    accuracy = (model.score(tested).argmax(1).numpy() == labels).mean()
    assert accuracy == pytest.approx(outcome.summary.test_accuracy)


def test_data_that_is_not_resized_takes_mean_and_std_alone(
    tiny: Callable[..., Config],
) -> None:
    config = tiny("model=torchvision", "width.channels=null", "dataset.transforms=weights")
    dataset = fill_open_values(config).dataset
    assert (dataset.image_size, dataset.mean) == (16, [0.485, 0.456, 0.406])


def test_a_resized_crop_and_a_padded_one_are_not_made_together() -> None:
    with pytest.raises(ConfigError, match=r"crop_area=0.5: not together with .*crop_padding=4"):
        compose(["augmentation.crop_area=0.5"])
