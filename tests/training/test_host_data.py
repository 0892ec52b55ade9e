"""Images on the host: the same batches as from the device, within bounded memory."""

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from augean.config.schema import Config
from augean.datasets.base import ImageArray, Images
from augean.datasets.image_folder import ImageFolder
from augean.datasets.synthetic import Synthetic
from augean.errors import DataError
from augean.runs.address import RunOutcome, build_source, find_address
from augean.runs.execute import execute
from augean.training import data
from augean.training.data import Data, HostSplit, Split, load_data
from augean.training.loop import evaluation_batch

CPU = torch.device("cpu")
MEMORY_PROGRAM = """
import sys
from pathlib import Path
import numpy, torch
from augean.datasets.image_cache import map_images, write_images
from augean.training.data import HostSplit

shape = (2500, 224, 224, 3)
chunk = numpy.random.default_rng(0).integers(0, 256, (50, *shape[1:]), dtype=numpy.uint8)
path = Path(sys.argv[1])
write_images(path, shape, (chunk for _ in range(50)))
rows = map_images(path, shape, warn=True)
split = HostSplit(rows, torch.zeros(len(rows), dtype=torch.int64))

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = [line.split()[1] for line in lines if line.startswith(("RssFile", "RssAnon"))]
    return sum(map(int, sizes)) // 1024

before = resident()
grown = 0
for epoch in range(2):
    order = torch.randperm(len(rows))
    for batch in split.batches(order, 50):
        assert numpy.array_equal(batch.pixels[7], chunk[batch.index[7] % 50])
        grown = max(grown, resident() - before)
print(grown)
"""
"""Reads a mapped file of 376 MB at random, and prints by how many MiB the process grew.

Of the file, what one batch needs; and of its own memory, what the allocator keeps of some batches.
"""


def split_of(count: int, size: int = 8) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, size, size, 3), generator=generator).byte()
    return Split(images, torch.arange(count))


def on_host(split: Split) -> HostSplit:
    return HostSplit(ImageArray(split.images.numpy(), numpy.arange(len(split))), split.labels)


def weights_of(outcome: RunOutcome) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(
        outcome.address.path / "best.pt", weights_only=True
    )
    return weights


@pytest.mark.parametrize("batch_size", [1, 4, 7, 10, 100])
def test_the_batches_are_those_of_the_device(batch_size: int) -> None:
    split = split_of(10)
    order = torch.randperm(10)
    batches = list(on_host(split).batches(order, batch_size))
    expected = list(split.batches(order, batch_size))
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert torch.equal(batch.index, other.index)
        assert batch.pixels is not None
        assert torch.equal(batch.pixels, split.images[other.index])
    pairs = zip(on_host(split).in_order(batch_size), split.in_order(batch_size), strict=True)
    assert all(torch.equal(images, their_images) for images, their_images in pairs)


@pytest.mark.parametrize(
    "overrides",
    [
        "augmentation.crop_padding=2 augmentation.flip=true",
        "augmentation.crop_padding=0 augmentation.flip=true augmentation.crop_area=0.3",
        "augmentation=none regularization=mixup",
        "augmentation=none record.probe_every=4",
    ],
)
def test_a_run_on_host_data_is_bit_identical(
    tiny: Callable[..., Config], overrides: str, tmp_path: Path
) -> None:
    # 150 images: the last batch of an epoch is a short one.
    settings = [*overrides.split(), "dataset.num_train=150", "record.step_loss=true"]
    outcomes = []
    for place in ("device", "host"):
        config = tiny(*settings, f"runtime.data_on={place}", f"runtime.outputs={tmp_path}/{place}")
        outcomes.append(execute(config))
    device, host = outcomes
    assert device.address.id == host.address.id
    for name in ("steps.npy", "confusion.csv"):
        files = [outcome.address.path / name for outcome in outcomes]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert device.summary.val_loss == host.summary.val_loss
    assert device.summary.test_loss == host.summary.test_loss
    assert weights_of(host).keys() == weights_of(device).keys()
    for name, value in weights_of(host).items():
        assert torch.equal(value, weights_of(device)[name]), name
    assert "images stay on the host" in (host.address.path / "train.log").read_text()


def test_a_run_on_host_data_is_resumed_exactly(
    tiny: Callable[..., Config], train_until: Callable[[Config, int], None], tmp_path: Path
) -> None:
    whole = execute(tiny("runtime.data_on=host", f"runtime.outputs={tmp_path}/whole"))
    train_until(tiny("runtime.data_on=host"), 2)
    resumed = execute(tiny("runtime.data_on=device"))
    assert resumed.summary.num_resumes == 1
    for name, value in weights_of(resumed).items():
        assert torch.equal(value, weights_of(whole)[name]), name


@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_an_image_folder_gives_the_same_images_from_its_mapped_cache(
    parts: tuple[str, ...], tmp_path: Path
) -> None:
    generator = numpy.random.default_rng(0)
    for part in parts:
        for index in range(40):
            pixels = generator.integers(0, 256, (8, 9, 3)).astype(numpy.uint8)
            path = tmp_path / "pets" / part / "ab"[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    source = ImageFolder(name="pets", root=tmp_path, cache=tmp_path / "cache", image_size=8)
    images = source.load()
    device = load_data(source, 5, None, 0, CPU, "device")
    host = load_data(source, 5, None, 0, CPU, "host")
    assert not device.is_on_host
    assert host.is_on_host
    for name in ("train", "val", "test"):
        split, other = getattr(device, name), getattr(host, name)
        assert other.images.mapping is not None
        assert torch.equal(split.images, torch.from_numpy(other.images.copy()))
        assert torch.equal(split.labels, other.labels)
    assert torch.equal(device.test.images, torch.from_numpy(images.test_images))


def test_auto_takes_the_host_for_what_leaves_no_room_on_the_device(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = build_source(tiny())
    assert not load_data(source, 40, None, 0, CPU, "auto").is_on_host
    monkeypatch.setattr(data, "MAX_MEMORY_SHARE", 0.0)
    # Another split, as runs share what they have loaded.
    assert load_data(source, 41, None, 0, CPU, "auto").is_on_host


def test_images_are_copied_to_the_device_in_parts(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "COPIED_AT_ONCE", 7)  # neither 40 nor the other numbers divide by it
    source = build_source(tiny())
    splits = load_data(source, 40, None, 0, CPU, "device")
    on_host = load_data(source, 40, None, 0, CPU, "host")
    for name in ("train", "val", "test"):
        images = getattr(on_host, name).images.copy()
        assert torch.equal(getattr(splits, name).images, torch.from_numpy(images))


class Watched(Synthetic):
    """Notes at each loading whether the data of the last one is still in memory."""

    earlier: "weakref.ref[Data] | None" = None
    was_in_memory = False

    def load(self) -> Images:
        if Watched.earlier is not None:
            Watched.was_in_memory = Watched.earlier() is not None
        return super().load()


def test_data_is_given_up_before_the_next_is_loaded(tmp_path: Path) -> None:
    source = Watched(name="mine", root=tmp_path, cache=tmp_path, image_size=16)
    first = load_data(source, 40, None, 0, CPU)
    assert load_data(source, 40, None, 0, CPU) is first
    Watched.earlier = weakref.ref(first)
    del first
    load_data(source, 40, None, 1, CPU)
    assert not Watched.was_in_memory


class Wrong(Synthetic):
    """Images and labels of an own class with a mistake."""

    def __init__(self, *, mistake: str, **options: Any) -> None:
        super().__init__(**options)
        self.mistake = mistake

    def load(self) -> Images:
        images = super().load()
        changes: dict[str, Any] = {
            "size": {"train_images": images.train_images[:, ::2, ::2]},
            "width": {"test_images": images.test_images[:, :, 4:]},
            "label": {"test_labels": images.test_labels - 1},
            "test": {"test_images": images.test_images[:0], "test_labels": images.test_labels[:0]},
            "train": {
                "train_images": images.train_images[:0],
                "train_labels": images.train_labels[:0],
            },
        }
        return replace(images, **changes[self.mistake])


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("size", "image_size=16: the training .* Wrong .* 8x8; .*, or set dataset.image_size=8"),
        ("width", "image_size=16: the test images .* 16x12; resize them to 16x16 there$"),
        ("label", "name=mine: the test labels .* from -1 to 8; its 10 classes .* from 0 to 9"),
        ("test", "name=mine: Wrong loads no test images; return at least one from its load"),
        ("train", "name=mine: Wrong loads no training images; return at least one from its load"),
    ],
)
@pytest.mark.parametrize("place", ["device", "host"])
def test_images_and_labels_that_do_not_fit_the_config_are_refused(
    place: str, mistake: str, message: str, tmp_path: Path
) -> None:
    source = Wrong(name="mine", root=tmp_path, cache=tmp_path, image_size=16, mistake=mistake)
    with pytest.raises(DataError, match=message):
        load_data(source, 40, None, 0, CPU, place)


def test_where_the_data_is_does_not_count_for_the_address(tiny: Callable[..., Config]) -> None:
    assert find_address(tiny("runtime.data_on=host")) == find_address(tiny())


def test_an_epoch_that_is_abandoned_leaves_no_thread_behind() -> None:
    split = on_host(split_of(100))
    before = threading.active_count()
    batches = split.batches(torch.arange(100), 5)
    next(batches)
    del batches
    assert threading.active_count() == before


@pytest.mark.slow
def test_a_mapped_file_is_read_within_bounded_memory(tmp_path: Path) -> None:
    program = [sys.executable, "-c", MEMORY_PROGRAM, str(tmp_path / "images.npz")]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 376  # the file alone


def test_a_pass_of_the_evaluation_has_fewer_large_images() -> None:
    assert [evaluation_batch(size) for size in (16, 32, 64, 128, 224)] == [
        1000,
        1000,
        1000,
        250,
        81,
    ]
