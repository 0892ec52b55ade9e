"""Fashion-MNIST from files in its own format: small ones, and the real ones where they are."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from augean.datasets import fashion_mnist
from augean.datasets.fashion_mnist import SYSTEM_FOLDER, FashionMnist
from augean.errors import DataError


def idx(values: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    """Return an array as an IDX file."""
    sizes = struct.pack(f">{values.ndim}i", *values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FashionMnist:
    """Return a source over a small set in the official format, of 20 + 10 images."""
    generator = np.random.default_rng(0)
    contents = {}
    for part, number in (("train", 20), ("t10k", 10)):
        images = generator.integers(0, 256, (number, 28, 28), dtype=np.uint8)
        contents[f"{part}-images-idx3-ubyte"] = idx(images)
        contents[f"{part}-labels-idx1-ubyte"] = idx(np.arange(number, dtype=np.uint8) % 10)
    checksum = hashlib.sha256(b"".join(contents[name] for name in FashionMnist.files)).hexdigest()
    monkeypatch.setattr(FashionMnist, "content", checksum)
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path / "nothing")
    folder = tmp_path / "data" / "fashion-mnist"
    folder.mkdir(parents=True)
    for number, (name, content) in enumerate(contents.items()):
        if number % 2:
            (folder / name).write_bytes(content)
        else:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    root = tmp_path / "data"
    return FashionMnist(name="fashion_mnist", root=root, cache=tmp_path / "c", image_size=32)


def test_images_are_padded_and_grey_on_three_channels(source: FashionMnist) -> None:
    images = source.load()
    assert images.train_images.shape == (20, 32, 32, 3)
    assert images.test_images.shape == (10, 32, 32, 3)
    assert images.train_labels.tolist() == [number % 10 for number in range(20)]
    grey = images.train_images[..., 0]
    assert (images.train_images == grey[..., None]).all()
    assert not grey[:, :2].any()
    assert not grey[:, :, -2:].any()
    # Those that `source` has drawn first.
    drawn = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    assert (grey[:, 2:-2, 2:-2] == drawn).all()


def test_altered_files_are_refused_with_their_folder(source: FashionMnist) -> None:
    file = source.root / "fashion-mnist" / "t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + b"\x09\x09")
    with pytest.raises(DataError, match=r"fashion-mnist: is not the official Fashion-MNIST"):
        source.load()


def test_a_truncated_compressed_file_is_named(source: FashionMnist) -> None:
    file = source.root / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: cannot be read"):
        source.load()


def test_missing_files_without_a_network_say_where_to_put_them(
    source: FashionMnist, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    mirrors = ["http://127.0.0.1:9/"]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", mirrors)
    (source.root / "fashion-mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"put the four files .* into .*fashion-mnist"):
        source.load()


@pytest.mark.skipif(
    not SYSTEM_FOLDER.is_dir(), reason="not installed: Debian's package dataset-fashion-mnist"
)
def test_the_installed_files_are_the_official_ones(tmp_path: Path) -> None:
    real = FashionMnist(name="fashion_mnist", root=tmp_path, cache=tmp_path, image_size=32)
    images = real.load()
    assert np.bincount(images.train_labels).tolist() == [6000] * 10
    assert np.bincount(images.test_labels).tolist() == [1000] * 10
    pixels = images.train_images[..., 0] / 255
    assert pixels.mean() == pytest.approx(0.2190, abs=1e-4)
    assert pixels.std() == pytest.approx(0.3318, abs=1e-4)
