"""Images of any size are resized and cropped as torchvision does for its weights."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

from augean.datasets.image_decoding import Geometry, decode_in_chunks
from augean.datasets.image_folder import ImageFolder
from augean.errors import ConfigError, DataError


def write_image(path: Path, width: int, height: int) -> None:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def folder(root: Path, **arguments: object) -> ImageFolder:
    return ImageFolder(name="pets", root=root, cache=root / "cache", image_size=8, **arguments)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("cat", "dog"):
        for split in ("train", "test"):
            for number in range(3):
                path = tmp_path / "pets" / split / name / f"{number}.png"
                write_image(path, 12 + number, 20 - number)
    return tmp_path


def decode(path: Path, geometry: Geometry) -> NDArray[np.uint8]:
    chunks = decode_in_chunks([str(path)], geometry, "test", in_processes=False)
    return np.concatenate(list(chunks))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize", [8, 9, 11])
@pytest.mark.parametrize("size", [(8, 8), (11, 11), (23, 14), (9, 31), (5, 7)])
def test_a_geometry_equals_torchvisions_resize_and_center_crop(
    size: tuple[int, int], resize: int, interpolation: str, tmp_path: Path
) -> None:
    write_image(tmp_path / "image.png", *size)
    method = v2.InterpolationMode(interpolation)
    transform = v2.Compose([v2.Resize(resize, interpolation=method), v2.CenterCrop(8)])
    expected = np.asarray(transform(Image.open(tmp_path / "image.png")))
    geometry = Geometry(8, resize, interpolation)
    images = decode(tmp_path / "image.png", geometry)
    assert np.array_equal(images[0], expected)


@pytest.mark.parametrize(
    ("size", "shape"), [((1, 60_000), "as high as wide"), ((60_000, 1), "as wide as high")]
)
def test_a_line_of_pixels_is_refused_and_not_blown_up(
    size: tuple[int, int], shape: str, tmp_path: Path
) -> None:
    write_image(tmp_path / "line.png", *size)
    with pytest.raises(DataError, match=f"line.png: .* 60,000 times {shape}, .*; crop it"):
        decode(tmp_path / "line.png", Geometry(224))
    images = decode(tmp_path / "line.png", Geometry(8))
    assert images.shape == (1, 8, 8, 3)


def load(root: Path, **arguments: object) -> NDArray[np.uint8]:
    return folder(root, **arguments).load().train_images


def test_images_of_two_geometries_are_kept_apart_in_cache_and_memory(pets: Path) -> None:
    plain, larger = load(pets), load(pets, resize=10)
    assert not np.array_equal(plain, larger)
    assert not np.array_equal(larger, load(pets, resize=10, interpolation="bicubic"))
    assert np.array_equal(larger, load(pets, resize=10))
    assert folder(pets) != folder(pets, resize=10)
    assert folder(pets, resize=10) == folder(pets, resize=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": 7}, "arguments.resize=7: must be a whole number, at least .*image_size=8"),
        ({"resize": 8.5}, "arguments.resize=8.5: must be"),
        ({"interpolation": "area"}, "interpolation=area: must be one of bilinear, bicubic"),
    ],
)
def test_a_geometry_that_makes_no_sense_is_refused(
    arguments: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        folder(tmp_path, **arguments)
