"""Data sets: what they contain, what identifies them, and how each mistake is named."""

import hashlib
import json
import logging
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torchvision.transforms import v2 as transforms

from augean import downloads
from augean.datasets import image_folder
from augean.datasets.base import Images, Source
from augean.datasets.cifar import Cifar10, Cifar100
from augean.datasets.digits import Digits
from augean.datasets.image_copies import copies_in_both_parts, copies_in_two_classes
from augean.datasets.image_folder import ImageFolder
from augean.datasets.split import stratified_split
from augean.datasets.synthetic import Synthetic
from augean.errors import ConfigError, DataError
from augean.inference.images import image_files

Labels = NDArray[np.int64]
Messages = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _new_process() -> None:
    """Every test starts without what the process remembers of image folders."""
    image_folder.process_contents.clear()


def source(
    cls: type[Source], folder: Path, *, image_size: int = 8, name: str = "pets", **arguments: Any
) -> Any:
    return cls(name=name, root=folder, cache=folder / "cache", image_size=image_size, **arguments)


def later(cls: type[Source], folder: Path, **arguments: Any) -> Any:
    """A source as a later process would construct it."""
    image_folder.process_contents.clear()
    return source(cls, folder, **arguments)


def write_pets(
    folder: Path, *, num_images: int = 3, size: tuple[int, int] = (8, 8), suffix: str = "png"
) -> Path:
    """Folder `pets` of cats and dogs with random pixels, the same on every call."""
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("dog", "cat"):
            (folder / "pets" / part / name).mkdir(parents=True)
            for number in range(num_images):
                pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "pets" / part / name / f"{number}.{suffix}")
    return folder / "pets"


def cache_file(folder: Path) -> Path:
    (path,) = (folder / "cache").glob("*.npz")
    return path


def equal(first: Images, second: Images) -> bool:
    names = ("train_images", "train_labels", "test_images", "test_labels")
    same = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)
    return same and first.classes == second.classes


# --- split


@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    share=st.floats(0, 1),
    train_share=st.none() | st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_split_is_disjoint_exact_and_stratified(
    labels: list[int], share: float, train_share: float | None, seed: int
) -> None:
    array = np.array(labels, dtype=np.int64)
    num_val = int(share * (len(labels) - 1))
    left = len(labels) - num_val
    num_train = None if train_share is None else max(1, int(train_share * left))
    train, val = stratified_split(array, num_val=num_val, num_train=num_train, seed=seed)
    assert train.dtype == val.dtype == np.int64
    assert (len(train), len(val)) == (left if num_train is None else num_train, num_val)
    assert len(np.union1d(train, val)) == len(train) + len(val)
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(val) > 0)
    rest = np.delete(array, val)
    for label in range(6):
        # A class is never a whole image away from its exact share.
        assert abs(np.sum(array[val] == label) - num_val * np.mean(array == label)) < 1
        assert abs(np.sum(array[train] == label) - len(train) * np.mean(rest == label)) < 1


def test_split_is_the_same_on_every_platform() -> None:
    labels = np.arange(1000, dtype=np.int64) % 7
    train, val = stratified_split(labels, num_val=100, num_train=300, seed=0)
    text = " ".join(str(index) for index in [*train, *val])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "89efe77f792e5158"


def test_split_depends_on_its_seed_alone() -> None:
    labels = np.arange(100, dtype=np.int64) % 10
    first, again, other = (
        stratified_split(labels, num_val=20, num_train=None, seed=seed)[1] for seed in (3, 3, 4)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_validation_images_do_not_depend_on_num_train() -> None:
    labels = np.arange(100, dtype=np.int64) % 10
    (_, first), (_, second) = (
        stratified_split(labels, num_val=20, num_train=number, seed=0) for number in (None, 30)
    )
    assert np.array_equal(first, second)


def test_split_without_validation_trains_on_everything() -> None:
    train, val = stratified_split(np.zeros(5, dtype=np.int64), num_val=0, num_train=None, seed=0)
    assert train.tolist() == [0, 1, 2, 3, 4]
    assert val.tolist() == []


def test_split_may_leave_classes_out_when_there_are_more_classes_than_images() -> None:
    labels = np.arange(100, dtype=np.int64) % 10
    train, val = stratified_split(labels, num_val=3, num_train=4, seed=0)
    assert (len(set(labels[train])), len(set(labels[val]))) == (4, 3)


@pytest.mark.parametrize("num_val", [5000, 1497, -1])
def test_too_many_validation_images_are_refused_with_the_number_there_is(num_val: int) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"dataset.num_val={num_val}: there are 1497 .* 1496 or less, .*num_val=149",
    ):
        stratified_split(np.zeros(1497, dtype=np.int64), num_val=num_val, num_train=None, seed=0)


@pytest.mark.parametrize("num_train", [81, 0])
def test_too_many_training_images_are_refused_with_the_number_there_is(num_train: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"num_train={num_train}: of 100 .*num_val=20 leaves 80; .* 1 to 80, or"
    ):
        stratified_split(np.zeros(100, dtype=np.int64), num_val=20, num_train=num_train, seed=0)


# --- all sources


def test_digests_need_no_slow_import_and_constructors_no_disk(tmp_path: Path) -> None:
    write_pets(tmp_path)
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from augean.datasets.cifar import Cifar10, Cifar100
        from augean.datasets.digits import Digits
        from augean.datasets.image_folder import ImageFolder
        from augean.datasets.synthetic import Synthetic

        root, cache, nowhere = Path(sys.argv[1]), Path(sys.argv[1], "cache"), Path("/nowhere")
        sizes = {Cifar10: 32, Cifar100: 32, Digits: 16, ImageFolder: 8, Synthetic: 8}
        for cls, size in sizes.items():
            cls(name="pets", root=nowhere, cache=nowhere, image_size=size)
            print(cls(name="pets", root=root, cache=cache, image_size=size).digest())
        slow = {"torch", "torchvision", "PIL", "sklearn", "scipy", "pandas"}
        sys.exit(", ".join(slow & set(sys.modules)) or 0)
    """)
    environment = {**os.environ, "PYTHONPATH": str(Path(image_folder.__file__).parents[2])}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert len(set(done.stdout.split())) == 5


@pytest.mark.parametrize(("cls", "size"), [(Cifar10, 32), (Cifar100, 32), (Digits, 16)])
def test_image_sizes_that_a_data_set_does_not_have_are_refused(
    cls: type[Source], size: int, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError,
        match=rf"dataset.image_size=24: .*{cls.__name__}.*; set dataset.image_size={size}",
    ):
        source(cls, tmp_path, image_size=24)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 8, 8, 3), dtype=np.float32), np.zeros(2, dtype=np.int64)),
        (np.zeros((2, 3, 8, 8), dtype=np.uint8), np.zeros(2, dtype=np.int64)),
        (np.zeros((2, 8, 8, 3), dtype=np.uint8), np.zeros(2, dtype=np.int32)),
        (np.zeros((2, 8, 8, 3), dtype=np.uint8), np.zeros(3, dtype=np.int64)),
        (np.zeros((2, 8, 8), dtype=np.uint8), np.zeros(2, dtype=np.int64)),
    ],
)
def test_arrays_of_a_new_source_are_checked(images: Any, labels: Any) -> None:
    good = np.zeros((1, 8, 8, 3), dtype=np.uint8), np.zeros(1, dtype=np.int64)
    Images(*good, *good, classes=("a", "b"))
    with pytest.raises(DataError, match=r"test .* must be uint8\[N, H, W, 3\], int64\[N\]"):
        Images(*good, images, labels, classes=("a", "b"))


class Inverted(Synthetic):
    """Images with a digest that does not tell its argument, like that of a file."""

    def __init__(self, *, invert: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.invert = invert


def test_sources_with_other_arguments_share_no_images(tmp_path: Path) -> None:
    plain, inverted = (source(Inverted, tmp_path, invert=value) for value in (False, True))
    assert plain.digest() == inverted.digest()
    assert plain != inverted
    # The same data in another folder, or in another process.
    others = [source(Inverted, tmp_path / "b", invert=True), pickle.loads(pickle.dumps(inverted))]
    assert {inverted, *others} == {inverted}


# --- digits


def test_a_count_is_known_where_the_class_that_loads_says_it(tmp_path: Path) -> None:
    class Fewer(Digits):
        def load(self) -> Images:
            raise AssertionError("loads what a plan only counts")

    class Counted(Fewer):
        def load(self) -> Images:
            raise AssertionError("loads what a plan only counts")

        def count_train_images(self) -> int:
            return 7

    place = {"name": "mine", "root": tmp_path, "cache": tmp_path, "image_size": 16}
    assert Digits(**place).counts_without_loading
    assert Digits(**place).count_train_images() == 1497
    assert not Fewer(**place).counts_without_loading
    assert Counted(**place).counts_without_loading


def test_digits_are_1497_and_300_stratified_images_of_3x16x16(tmp_path: Path) -> None:
    digits = source(Digits, tmp_path, image_size=16).load()
    assert digits.train_images.shape == (1497, 16, 16, 3)
    assert digits.test_images.shape == (300, 16, 16, 3)
    assert digits.classes == tuple("0123456789")
    assert set(np.unique(digits.train_images)) <= {round(grey * 255 / 16) for grey in range(17)}
    assert np.bincount(digits.test_labels).min() >= 29
    train, val = stratified_split(digits.train_labels, num_val=300, num_train=None, seed=0)
    assert (len(train), len(val)) == (1197, 300)


def test_digest_of_digits_is_that_of_their_grey_values_and_labels(tmp_path: Path) -> None:
    digits = source(Digits, tmp_path, image_size=16)
    images = digits.load()
    content = hashlib.sha256()
    for pixels, labels in (
        (images.train_images, images.train_labels),
        (images.test_images, images.test_labels),
    ):
        content.update(
            np.rint(pixels[:, ::2, ::2, 1] / 255 * 16).astype(np.uint8).tobytes() + labels.tobytes()
        )
    assert digits.digest() == content.hexdigest()


def test_every_digit_is_in_exactly_one_split(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    images = source(Digits, tmp_path, image_size=16).load()
    ours = np.concatenate([images.train_images, images.test_images])[:, 1::2, 1::2, 2] / 255 * 16
    theirs = load_digits().images
    assert sorted(map(bytes, np.rint(ours).astype(np.uint8))) == sorted(
        map(bytes, theirs.astype(np.uint8))
    )


# --- synthetic


def test_synthetic_pixels_are_those_that_the_digest_stands_for(tmp_path: Path) -> None:
    synthetic = source(Synthetic, tmp_path, image_size=32, num_train_images=50, num_test_images=20)
    images = synthetic.load()
    content = (
        images.train_images.tobytes() + images.train_labels.tobytes() + images.test_images.tobytes()
    )
    assert (synthetic.digest(), hashlib.sha256(content).hexdigest()[:16]) == (
        "synthetic-v1-32-50-20-10-0-102",
        "87e1f6bf934324a5",
    )
    assert equal(images, synthetic.load())


def test_every_synthetic_argument_changes_the_digest(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"num_train_images": 7},
        {"num_test_images": 7},
        {"num_classes": 7},
        {"noise": 0.7},
    ]
    changes += [{"generator_seed": 7}, {"image_size": 16}]
    assert len({source(Synthetic, tmp_path, **change).digest() for change in changes}) == len(
        changes
    )


def test_synthetic_classes_are_balanced_and_can_be_told_apart(tmp_path: Path) -> None:
    images = source(Synthetic, tmp_path, num_train_images=300, num_test_images=100).load()
    assert np.bincount(images.train_labels).tolist() == [30] * 10
    means = np.stack(
        [images.train_images[images.train_labels == label].mean(axis=0) for label in range(10)]
    )
    distances = ((images.test_images[:, None] - means[None]) ** 2).sum(axis=(2, 3, 4))
    assert np.mean(distances.argmin(axis=1) == images.test_labels) > 0.95


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_train_images", 0),
        ("num_test_images", 2.0),
        ("num_classes", 1),
        ("num_classes", True),
        ("generator_seed", -1),
        ("noise", 1.5),
        ("noise", "loud"),
    ],
)
def test_bad_synthetic_arguments_are_named(key: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"dataset.arguments.{key}={value}: must be a"):
        source(Synthetic, tmp_path, **{key: value})


# --- image folders


class Inverse(ImageFolder):
    """An image folder of one's own, as negatives."""

    def load(self) -> Images:
        images = super().load()
        return replace(images, train_images=255 - images.train_images)


def test_a_folder_of_ones_own_trains_on_what_it_loads(tmp_path: Path) -> None:
    write_pets(tmp_path)
    expected = source(Inverse, tmp_path).load()
    assert equal(source(Inverse, tmp_path).load_lazily().in_memory(), expected)
    assert not equal(source(ImageFolder, tmp_path).load(), expected)


def test_image_folder_is_read_in_sorted_order(tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    (folder / "train" / "cat" / "notes.txt").write_text("no image")
    (folder / "train" / "cat" / "._0.png").write_text("left by a Mac")
    (folder / "train" / ".cache").mkdir()
    images = source(ImageFolder, tmp_path).load()
    assert images.classes == ("cat", "dog")
    assert images.train_labels.tolist() == images.test_labels.tolist() == [0, 0, 0, 1, 1, 1]
    for index, path in enumerate(["cat/0", "cat/1", "cat/2", "dog/0", "dog/1", "dog/2"]):
        assert np.array_equal(
            images.train_images[index], np.asarray(Image.open(folder / "train" / f"{path}.png"))
        )
        assert np.array_equal(
            images.test_images[index], np.asarray(Image.open(folder / "test" / f"{path}.png"))
        )


@pytest.mark.parametrize("size", [(20, 13), (13, 20), (8, 9), (5, 6), (31, 31)])
def test_resizing_equals_torchvision(size: tuple[int, int], tmp_path: Path) -> None:
    folder = write_pets(tmp_path, num_images=1, size=size)
    expected = transforms.Compose([transforms.Resize(8), transforms.CenterCrop(8)])
    with Image.open(folder / "train" / "cat" / "0.png") as image:
        pixels = np.asarray(expected(image))
    assert np.array_equal(source(ImageFolder, tmp_path).load().train_images[0], pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr"])
def test_every_8_bit_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    file = write_pets(tmp_path) / "train" / "cat" / "0.png"
    with Image.open(file) as image:
        image.convert("RGB").convert("RGBA" if mode == "PA" else mode).save(
            file.with_suffix(".tif"), compression="raw"
        )
    with Image.open(file.with_suffix(".tif")) as image:
        expected = np.asarray(image.convert("RGB"))
    file.unlink()
    assert np.array_equal(source(ImageFolder, tmp_path).load().train_images[0], expected)


def test_palettes_with_transparency_load_without_a_warning(tmp_path: Path) -> None:
    file = write_pets(tmp_path) / "train" / "cat" / "0.png"
    with Image.open(file) as image:
        image.convert("P").save(file, transparency=bytes(range(256)))
    assert source(ImageFolder, tmp_path).load().train_images.shape == (6, 8, 8, 3)


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "bmp", "webp"])
def test_other_formats_are_images_too(suffix: str, tmp_path: Path) -> None:
    write_pets(tmp_path, suffix=suffix)
    assert source(ImageFolder, tmp_path).load().train_images.shape == (6, 8, 8, 3)


def test_decoding_in_processes_gives_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_pets(tmp_path, num_images=40)
    here = source(ImageFolder, tmp_path).load()
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(image_folder, "POOL_BYTES", 0)
    assert equal(source(ImageFolder, tmp_path).load(), here)
    (folder / "test" / "dog" / "7.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"test/dog/7.png: cannot be read as an image"):
        later(ImageFolder, tmp_path).load()


def test_second_load_decodes_nothing(tmp_path: Path) -> None:
    write_pets(tmp_path)
    first = source(ImageFolder, tmp_path).load()
    before = cache_file(tmp_path).stat()
    assert equal(later(ImageFolder, tmp_path).load(), first)
    after = cache_file(tmp_path).stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_each_image_size_has_its_own_cache(tmp_path: Path) -> None:
    write_pets(tmp_path)
    shapes = [
        source(ImageFolder, tmp_path, image_size=size).load().test_images.shape
        for size in (8, 16, 8)
    ]
    assert shapes == [(6, 8, 8, 3), (6, 16, 16, 3), (6, 8, 8, 3)]
    assert len({source(ImageFolder, tmp_path, image_size=size).digest() for size in (8, 16)}) == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "garbage", "other"])
def test_a_damaged_cache_is_rebuilt_with_a_word(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "augean")
    write_pets(tmp_path)
    first = source(ImageFolder, tmp_path).load()
    path = cache_file(tmp_path)
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "other":
        np.savez(path, images=first.train_images)
    else:
        path.write_bytes(
            {
                "truncated": content[:middle],
                "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "empty": b"",
                "garbage": b"\x80" * 100,
            }[damage]
        )
    path.with_name(f"{path.name}.part").write_bytes(b"left by a killed process")
    assert equal(later(ImageFolder, tmp_path).load(), first)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{path} is damaged" in caplog.text
    caplog.clear()
    assert equal(later(ImageFolder, tmp_path).load(), first)
    assert not caplog.records
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".json", ".lock", ".npz"]


def test_repeated_digest_reads_the_index_and_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pets(tmp_path)
    digest = source(ImageFolder, tmp_path).digest()

    def refuse(*_: Any) -> None:
        raise AssertionError("an image is read")

    monkeypatch.setattr(image_folder, "open", refuse, raising=False)
    assert later(ImageFolder, tmp_path).digest() == digest


@pytest.mark.parametrize("has_copies", [False, True])
def test_no_flipped_bit_of_the_index_gives_another_digest(has_copies: bool, tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    if has_copies:
        shutil.copy(folder / "train/dog/0.png", folder / "test/cat/0.png")
    digest, index = source(ImageFolder, tmp_path).digest(), tmp_path / "cache" / "pets.index.json"
    whole = index.read_bytes()
    assert digest.encode() in whole
    for place in range(len(whole)):
        index.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert later(ImageFolder, tmp_path).digest() == digest


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"fingerprint": "old", "digest": "old"}']
)
def test_a_damaged_index_is_rebuilt(content: bytes, tmp_path: Path) -> None:
    write_pets(tmp_path)
    digest = source(ImageFolder, tmp_path).digest()
    (tmp_path / "cache" / "pets.index.json").write_bytes(content)
    assert later(ImageFolder, tmp_path).digest() == digest
    assert json.loads((tmp_path / "cache" / "pets.index.json").read_text())["digest"] == digest


def test_digest_ignores_place_and_time(tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    digest = source(ImageFolder, tmp_path).digest()
    shutil.move(folder, tmp_path / "elsewhere" / "pets")
    for path in (tmp_path / "elsewhere").rglob("*.png"):
        os.utime(path, (0, 0))
    assert later(ImageFolder, tmp_path / "elsewhere").digest() == digest


@pytest.mark.parametrize(
    "change", ["pixel", "same size and time", "renamed", "other class", "removed", "added"]
)
def test_digest_notices_every_change_of_the_images(change: str, tmp_path: Path) -> None:
    folder = write_pets(tmp_path, suffix="bmp")
    digest = source(ImageFolder, tmp_path).digest()
    file = folder / "train" / "cat" / "0.bmp"
    before = file.stat()
    time.sleep(0.02)  # older file systems tell times of 4 to 10 ms apart
    if change in ("pixel", "same size and time"):
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
        if change != "pixel":
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "renamed":
        file.rename(file.with_stem("9"))
    elif change == "other class":
        file.rename(folder / "train" / "dog" / "9.bmp")
    elif change == "removed":
        file.unlink()
    else:
        shutil.copy(file, file.with_stem("9"))
    assert later(ImageFolder, tmp_path).digest() != digest


def test_images_that_change_under_a_running_command_are_refused(tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    pets = source(ImageFolder, tmp_path)
    pets.digest()
    (folder / "train" / "cat" / "0.png").unlink()
    with pytest.raises(DataError, match="have changed since this command started; start it again"):
        pets.load()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "16 bit", "broken link"])
def test_a_broken_image_is_named_and_refused(damage: str, tmp_path: Path) -> None:
    file = write_pets(tmp_path) / "test" / "dog" / "1.png"
    if damage == "16 bit":
        Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(file)
    elif damage == "broken link":
        file.unlink()
        file.symlink_to(tmp_path / "nothing.png")
    else:
        file.write_bytes(b"garbage" if damage == "garbage" else file.read_bytes()[:100])
    with pytest.raises(DataError, match=r"/pets/test/dog/1.png") as error:
        source(ImageFolder, tmp_path).load()
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").glob("*.npz"))


def test_a_missing_folder_is_answered_with_the_layout(tmp_path: Path) -> None:
    expected = (
        rf"dataset.name=pets: cannot read {tmp_path}/pets/train .* Expected"
        rf" {tmp_path}/pets/.train,test./<class>/"
    )
    with pytest.raises(
        DataError, match=rf"{expected}.*runtime.data=<the folder that contains pets>"
    ):
        source(ImageFolder, tmp_path).digest()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("train", r"no folder .*/pets/train; .*/pets/test is taken for the test images"),
        ("test/dog", "train and test do not both have the classes dog"),
        ("train/cat/*", r"no image in .*/pets/train/cat"),
        ("*/*", r"no class folder in .*/pets/train"),
    ],
)
def test_an_incomplete_folder_is_refused_by_what_is_missing(
    part: str, message: str, tmp_path: Path
) -> None:
    folder = write_pets(tmp_path)
    for path in folder.glob(part):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(
        DataError, match=rf"dataset.name=pets: .*{message}.* Expected .*<class>/<image>"
    ):
        source(ImageFolder, tmp_path).digest()


def test_classes_that_look_the_same_in_train_and_test_are_told_apart(tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    (folder / "train" / "cat").rename(folder / "train" / "caf\u00e9")
    (folder / "test" / "cat").rename(folder / "test" / "cafe\u0301")
    (folder / "test" / "dog").rename(folder / "test" / "fox")
    with pytest.raises(DataError, match="do not both have the classes") as error:
        source(ImageFolder, tmp_path).digest()
    assert r"('cafe\u0301', 'caf\xe9'): rename the folder" in str(error.value)


def test_a_class_named_test_is_told_that_this_name_is_taken(tmp_path: Path) -> None:
    folder = write_photos(tmp_path, num_images=5)
    (folder / "cat").rename(folder / "test")
    with pytest.raises(DataError, match="if it is a class, give it another name"):
        source(ImageFolder, tmp_path).digest()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_pets(tmp_path)
    (tmp_path / "cache").write_text("a file where the folder should be")
    for ask in ("digest", "load"):
        with pytest.raises(
            DataError,
            match=rf"runtime.cache={tmp_path}/cache: cannot write .*; set runtime.cache=<",
        ):
            getattr(source(ImageFolder, tmp_path), ask)()


# --- Image folders without test, or with folders below those of the classes


def write_photos(folder: Path, *, num_images: int = 60) -> Path:
    """Folder `pets/<class>` with random pixels in three classes."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog", "fox"):
        (folder / "pets" / name).mkdir(parents=True)
        for number in range(num_images):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pets" / name / f"{number}.png")
    return folder / "pets"


def test_a_fifth_is_set_aside_for_the_test_where_there_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path)
    monkeypatch.setattr(logging.getLogger("augean"), "propagate", True)
    caplog.set_level(logging.INFO, "augean")
    photos = source(ImageFolder, tmp_path)
    photos.digest()
    images = photos.load()
    num_train = len(images.train_labels)
    assert len(images.test_labels) == 180 - num_train
    assert 20 <= len(images.test_labels) <= 52  # 36 are expected; beyond has a chance below 1 %
    assert photos.count_train_images() == num_train
    assert f"{num_train} for training and validation, {180 - num_train} for the test" in caplog.text
    # As if the same images lay in a folder train.
    (tmp_path / "pets").rename(tmp_path / "classes")
    (tmp_path / "pets").mkdir()
    (tmp_path / "classes").rename(tmp_path / "pets/train")
    again = later(ImageFolder, tmp_path).load()
    assert np.array_equal(images.test_images, again.test_images)
    assert np.array_equal(images.train_labels, again.train_labels)


def test_added_images_never_move_others_and_copies_never_lie_on_both_sides(tmp_path: Path) -> None:
    folder = write_photos(tmp_path)
    before = source(ImageFolder, tmp_path).load()
    generator = np.random.default_rng(1)
    for number in range(30):
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "cat" / f"a{number}.png")
        shutil.copy(folder / "dog" / f"{number}.png", folder / "dog" / f"copy{number}.png")
    after = later(ImageFolder, tmp_path).load()
    train, test = (
        {image.tobytes() for image in images} for images in (after.train_images, after.test_images)
    )
    assert not train & test
    assert {image.tobytes() for image in before.train_images} <= train
    assert {image.tobytes() for image in before.test_images} <= test


def test_images_in_folders_below_a_class_are_read(tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    flat = source(ImageFolder, tmp_path).load()
    (folder / "train/cat/indoors/2024").mkdir(parents=True)
    shutil.move(folder / "train/cat/2.png", folder / "train/cat/indoors/2024/2.png")
    deep = later(ImageFolder, tmp_path).load()
    assert np.array_equal(deep.train_images, flat.train_images)
    (folder / "train/cat/loop").symlink_to(folder / "train/cat")
    with pytest.raises(DataError, match="a link to itself"):
        later(ImageFolder, tmp_path).digest()


@pytest.mark.parametrize("kind", ["broken link", "pipe"])
def test_an_unreadable_image_in_a_deep_folder_is_named_by_its_path(
    kind: str, tmp_path: Path
) -> None:
    image = write_pets(tmp_path) / "train/cat/indoors/2.png"
    image.parent.mkdir()
    if kind == "pipe":
        os.mkfifo(image)
    else:
        image.symlink_to(tmp_path / "nothing.png")
    with pytest.raises(DataError, match=f"^{image}: cannot be read"):
        source(ImageFolder, tmp_path).digest()
    with pytest.raises(DataError, match=f"^{image}: cannot be read"):
        image_files([str(tmp_path / "pets/train/cat")])


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Messages:
    """What was logged since the last call, such as `INFO pets: 3 images`."""
    monkeypatch.setattr(logging.getLogger("augean"), "propagate", True)
    caplog.set_level(logging.INFO, "augean")

    def take() -> list[str]:
        lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
        caplog.clear()
        return lines

    return take


@pytest.mark.parametrize("ask", ["digest", "load"])
def test_a_process_says_once_what_a_folder_holds(
    ask: str, tmp_path: Path, messages: Messages
) -> None:
    folder = write_pets(tmp_path)
    pets = source(ImageFolder, tmp_path)
    getattr(pets, ask)()
    assert messages() == [f"INFO {folder}: 12 images of 2 classes: cat, dog"]
    pets.digest()
    pets.load()
    assert messages() == []
    for name in ("train/dog/IMG_1", "train/dog/new/21.jpg.1", "test/cat/.hidden"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "train/cat/0.png", folder / name)
    getattr(later(ImageFolder, tmp_path), ask)()
    assert messages() == [
        f"INFO {folder}: 12 images of 2 classes: cat, dog; 2 other files ignored, such as"
        " train/dog/IMG_1"
    ]


def test_files_that_are_not_images_leave_index_and_digest_as_they_are(tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    digest = source(ImageFolder, tmp_path).digest()
    index = (tmp_path / "cache" / "pets.index.json").read_bytes()
    (folder / "train" / "cat" / "IMG_1").write_text("no suffix")
    assert later(ImageFolder, tmp_path).digest() == digest
    assert (tmp_path / "cache" / "pets.index.json").read_bytes() == index


def test_of_many_classes_the_first_are_named(tmp_path: Path, messages: Messages) -> None:
    folder = write_photos(tmp_path, num_images=5)
    for number in range(20):
        shutil.copytree(folder / "cat", folder / f"kind {number:02}")
    source(ImageFolder, tmp_path).digest()
    assert "115 images of 23 classes: cat, dog, fox, kind 00, " in messages()[0]
    assert later(ImageFolder, tmp_path).digest()
    assert messages()[0].endswith(", kind 06 and 13 more")


@pytest.mark.parametrize("part", ["", "train"])
@pytest.mark.parametrize("name", ["train", "Test", "val"])
def test_a_data_set_is_not_taken_for_a_class(part: str, name: str, tmp_path: Path) -> None:
    for site in ("a", "b"):
        for image in ("train/cat/0.png", "test/cat/1.png"):
            path = tmp_path / "pets" / part / f"site {site}" / image
            path.parent.mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(path)
    sites = tmp_path / "pets" / part
    (sites / "site a" / "train").rename(sites / "site a" / name)
    if name != "Test":
        shutil.rmtree(sites / "site a" / "test")
    advice = f"set runtime.data={sites} dataset.name=site a"
    with pytest.raises(DataError, match=rf"{sites}/site a: .* a folder {name}: .*{advice}"):
        source(ImageFolder, tmp_path).digest()


def test_images_outside_of_the_classes_are_refused_with_their_number_and_place(
    tmp_path: Path,
) -> None:
    folder = write_pets(tmp_path)
    for number in (1, 2):
        shutil.copy(folder / "train/cat/0.png", folder / f"train/{number}.png")
    with pytest.raises(DataError, match=r"2 images in .*/pets/train .* such as 1.png"):
        source(ImageFolder, tmp_path).digest()


@pytest.mark.parametrize("in_processes", [False, True])
def test_photographs_that_lie_on_their_side_are_counted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    in_processes: bool,
) -> None:
    if in_processes:
        monkeypatch.setattr(image_folder, "POOL_BYTES", 0)
    monkeypatch.setattr(logging.getLogger("augean"), "propagate", True)
    folder = write_photos(tmp_path)
    upright = source(ImageFolder, tmp_path).load()
    assert "orientation" not in caplog.text
    # The same pixels, with the tag as cameras write it: 6 and 3 turn the image, 1 does not.
    for path, orientation in zip(sorted(folder.glob("*/*.png")), (6, 3, 1), strict=False):
        with Image.open(path) as image:
            image.load()
        tags = Image.Exif()
        tags[ExifTags.Base.Orientation] = orientation
        image.save(path, exif=tags)
    turned = later(ImageFolder, tmp_path).load()
    assert "on their side, upside down or mirrored" in caplog.text
    assert ": 2 images; turn the files upright first, in a copy of the folder" in caplog.text
    read = np.concatenate([turned.train_images, turned.test_images])
    before = np.concatenate([upright.train_images, upright.test_images])
    assert sorted(map(bytes, read)) == sorted(map(bytes, before))


def test_all_images_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    folder = write_photos(tmp_path)
    deep = Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16))
    for number in range(6):
        deep.save(folder / "cat" / f"deep{number}.png")
    with pytest.raises(DataError, match="6 files cannot be read as images") as error:
        source(ImageFolder, tmp_path).load()
    for number in range(6):
        assert f"cat/deep{number}.png" in str(error.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"hello", "its content is not that of an image")],
)
def test_a_file_that_is_not_an_image_is_named_once_with_what_it_is(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    file = write_pets(tmp_path) / "train" / "cat" / "0.png"
    file.write_bytes(content)
    with pytest.raises(DataError, match=reason) as error:
        source(ImageFolder, tmp_path).load()
    assert str(error.value).count(str(file)) == 1


def test_large_photographs_are_read_and_huge_ones_refused_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pets(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # Pillow warns of 64 pixels, and reads them
    assert len(source(ImageFolder, tmp_path).load().train_images) == 6
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(DataError, match=r"12 files .* more than 40 pixels; make it smaller"):
        later(ImageFolder, tmp_path).load()


@pytest.mark.parametrize("name", ["a.gif", "a.HEIC", "a.avif", "deep/er/a.jfif"])
def test_images_of_a_kind_that_is_not_read_are_refused_with_number_and_place(
    name: str, tmp_path: Path
) -> None:
    folder = write_pets(tmp_path)
    for part in ("train/cat", "test/dog"):
        (folder / part / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / part / name).write_bytes(b"whatever")
    with pytest.raises(DataError, match=f"2 images would be left out, such as train/cat/{name}"):
        source(ImageFolder, tmp_path).digest()


@pytest.mark.parametrize("place", ["val/cat", "extra", "val/deep/cat"])
def test_images_beside_train_are_refused_with_number_and_place(place: str, tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    (folder / "notes").mkdir()
    (folder / "notes" / "sources.txt").write_text("from a walk in the park")
    assert source(ImageFolder, tmp_path).digest()
    (folder / place).mkdir(parents=True)
    for number in (0, 1):
        shutil.copy(folder / "train/cat/0.png", folder / place / f"{number}.png")
    top = folder / place.split("/")[0]
    with pytest.raises(DataError, match=f"{top}: 2 images beside the folder train would be left"):
        later(ImageFolder, tmp_path).digest()


@pytest.mark.parametrize("name", ["Train", "training", "VAL"])
def test_another_name_of_train_is_not_taken_for_a_class(name: str, tmp_path: Path) -> None:
    folder = write_pets(tmp_path)
    (folder / "train").rename(folder / name)
    (folder / "test").rename(folder / "Test")
    # A file of such a name hides no folder.
    (folder / "Dev").write_text("a note")
    with pytest.raises(DataError, match="not taken for a class; rename it to train or test"):
        source(ImageFolder, tmp_path).digest()


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    # What an archive with a folder of its own gives: pets/pets/{cat,dog}.
    folder = write_photos(tmp_path, num_images=5)
    folder.rename(tmp_path / "inner")
    folder.mkdir()
    (tmp_path / "inner").rename(folder / "pets")
    with pytest.raises(DataError, match="pets is the only class folder"):
        source(ImageFolder, tmp_path).digest()


def test_a_class_that_would_have_no_training_image_is_refused(tmp_path: Path) -> None:
    folder = write_photos(tmp_path)
    images = source(ImageFolder, tmp_path).load()
    for number in range(60):
        pixels = np.asarray(Image.open(folder / "cat" / f"{number}.png"))
        if any(np.array_equal(pixels, test) for test in images.test_images):
            break
    (folder / "owl").mkdir()
    shutil.copy(folder / "cat" / f"{number}.png", folder / "owl")
    with pytest.raises(DataError, match=r"the class owl has too few images .* all 1 of it"):
        later(ImageFolder, tmp_path).digest()


def test_classes_without_a_test_image_are_named_in_every_process(
    tmp_path: Path, messages: Messages
) -> None:
    folder = write_photos(tmp_path)
    images = source(ImageFolder, tmp_path).load()
    test_images = {image.tobytes() for image in images.test_images}
    assert not any("no test image" in message for message in messages())
    for path in sorted((folder / "fox").iterdir()):
        if np.asarray(Image.open(path)).tobytes() in test_images:
            path.unlink()
    for _ in range(2):
        later(ImageFolder, tmp_path).digest()
        (warning,) = (message for message in messages() if message.startswith("WARNING"))
        assert warning.startswith(f"WARNING {folder}: no test image of fox;")


def warnings_of(folder: Path, messages: Messages) -> list[str]:
    """What a new process warns of, without the name of the folder."""
    later(ImageFolder, folder).digest()
    prefix = f"WARNING {folder}/pets: "
    return [line.removeprefix(prefix) for line in messages() if line.startswith(prefix)]


def test_copies_in_train_and_test_are_counted_in_every_process(
    tmp_path: Path, messages: Messages
) -> None:
    folder = write_pets(tmp_path)
    assert warnings_of(tmp_path, messages) == []
    shutil.copy(folder / "train/dog/1.png", folder / "train/dog/copy.png")  # harmless here
    assert warnings_of(tmp_path, messages) == []
    for number in (1, 2):
        shutil.copy(folder / f"train/dog/{number}.png", folder / f"test/dog/a{number}.png")
    for _ in range(2):
        (warning,) = warnings_of(tmp_path, messages)
        assert "in both train and test: 2 images (train/dog/1.png = test/dog/a1.png)" in warning


def test_copies_in_two_classes_are_counted_in_every_process(
    tmp_path: Path, messages: Messages
) -> None:
    folder = write_photos(tmp_path)
    assert warnings_of(tmp_path, messages) == []
    for place in ("dog/copy 0.png", "fox/copy 0.png", "cat/again.png"):
        shutil.copy(folder / "cat/0.png", folder / place)
    shutil.copy(folder / "dog/7.png", folder / "fox/copy 7.png")
    for _ in range(2):
        (warning,) = warnings_of(tmp_path, messages)
        assert "in more than one class: 2 images (cat/again.png = dog/copy 0.png)" in warning


def test_copies_with_a_name_that_is_not_utf_8_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    folder = write_photos(tmp_path)
    shutil.copy(folder / "cat/0.png", folder / "dog" / name)
    # Not by `caplog`, whose text pytest-xdist could not send on.
    said: list[str] = []
    monkeypatch.setattr(image_folder.logger, "warning", said.append)
    for _ in range(2):
        later(ImageFolder, tmp_path).digest()
        assert f"dog/{name}" in said.pop()


@given(
    contents=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=12), data=st.data()
)
def test_copies_are_those_that_a_comparison_of_all_pairs_finds(
    contents: list[tuple[int, int]], data: st.DataObject
) -> None:
    num_train = data.draw(st.integers(0, len(contents)))
    hashes = np.array([content for content, _ in contents], dtype=np.uint64)
    labels = np.array([label for _, label in contents], dtype=np.int64)
    paths = [str(position) for position in range(len(contents))]
    in_parts = copies_in_both_parts(hashes, paths, num_train)
    in_classes = copies_in_two_classes(hashes, paths, labels)
    for copies, place in ((in_parts, np.arange(len(paths)) < num_train), (in_classes, labels)):
        expected = set()
        for first, second in combinations(range(len(paths)), 2):
            if hashes[first] == hashes[second] and place[first] != place[second]:
                expected.add(hashes[first])
        assert (copies.number if copies else 0) == len(expected)
        if copies:
            first, second = map(int, copies.example)
            assert hashes[first] == hashes[second]
            assert place[first] != place[second]


@pytest.mark.parametrize(
    "name", ["a, b", "Žluťoučký kůň", "猫", "1", "NA", 'say "cat"', "a\u2028b"]
)
def test_a_class_may_have_any_name(name: str, tmp_path: Path) -> None:
    folder = write_photos(tmp_path, num_images=5)
    (folder / "cat").rename(folder / name)
    assert set(source(ImageFolder, tmp_path).load().classes) == {name, "dog", "fox"}


# --- CIFAR


@pytest.fixture(params=[Cifar10, Cifar100])
def tiny_cifar(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A CIFAR source whose official archive is a small one of the same format, on a local server in
    tmp_path/web.
    """
    cls: type[Cifar10] = request.param
    official = getattr(torchvision.datasets, cls.dataset)
    label_key, web = "labels" if cls is Cifar10 else "fine_labels", tmp_path / "web"
    (web / cls.folder).mkdir(parents=True)
    names = [name for name, _ in official.train_list + official.test_list]
    content: dict[str, dict[str, Any]] = {
        official.meta["filename"]: {official.meta["key"]: ["cat", "dog"]}
    }
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 3072), dtype=np.uint8)
        content[name] = {"data": pixels, label_key: [0, 1, 1, 0]}
    md5 = {}
    for name, entry in content.items():
        (web / cls.folder / name).write_bytes(pickle.dumps(entry, protocol=2))
        md5[name] = hashlib.md5((web / cls.folder / name).read_bytes()).hexdigest()
    with tarfile.open(web / cls.archive, "w:gz") as archive:
        archive.add(web / cls.folder, cls.folder)
    shutil.rmtree(web / cls.folder)
    monkeypatch.setattr(
        official, "tgz_md5", hashlib.md5((web / cls.archive).read_bytes()).hexdigest()
    )
    monkeypatch.setattr(official, "train_list", [[name, md5[name]] for name in names[:-1]])
    monkeypatch.setattr(official, "test_list", [[name, md5[name]] for name in names[-1:]])
    monkeypatch.setattr(official, "meta", {**official.meta, "md5": md5[official.meta["filename"]]})

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def copyfile(self, *files: Any) -> None:
            with suppress(ConnectionError):  # torchvision asks for redirections first and hangs up
                super().copyfile(*files)

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(web))) as server:
        monkeypatch.setattr(official, "url", f"http://127.0.0.1:{server.server_port}/{cls.archive}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield source(cls, tmp_path / "data", image_size=32)
        server.shutdown()
        thread.join()


def go_offline(cifar: Cifar10, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let downloads go to a port where nobody listens."""
    monkeypatch.setattr(
        getattr(torchvision.datasets, cifar.dataset), "url", f"http://127.0.0.1:9/{cifar.archive}"
    )


# torchvision extracts without the filter that Python 3.12 and 3.13 ask for.
tolerate_extraction = pytest.mark.filterwarnings(
    "ignore:Python 3.14 will, by default, filter:DeprecationWarning"
)


@pytest.mark.parametrize("cls", [Cifar10, Cifar100])
def test_digest_of_cifar_is_the_md5_that_torchvision_checks(
    cls: type[Cifar10], tmp_path: Path
) -> None:
    official = getattr(torchvision.datasets, cls.dataset)
    assert source(cls, tmp_path, image_size=32).digest() == official.tgz_md5
    assert (cls.archive, cls.folder) == (official.filename, official.base_folder)


@tolerate_extraction
def test_cifar_is_downloaded_once(tiny_cifar: Cifar10, tmp_path: Path) -> None:
    images = tiny_cifar.load()
    num_batches = 5 if type(tiny_cifar) is Cifar10 else 1
    assert images.train_images.shape == (4 * num_batches, 32, 32, 3)
    assert images.test_images.flags.c_contiguous
    assert images.test_labels.tolist() == [0, 1, 1, 0]
    assert images.classes == ("cat", "dog")
    pixels = np.random.default_rng(num_batches).integers(
        0, 256, (4, 3, 32, 32), dtype=np.uint8
    )  # stored by channel
    assert np.array_equal(images.test_images, pixels.transpose(0, 2, 3, 1))
    shutil.rmtree(tmp_path / "web")
    assert equal(tiny_cifar.load(), images)


@tolerate_extraction
def test_cifar_is_unpacked_from_an_archive_put_there(tiny_cifar: Cifar10, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.move(tmp_path / "web" / tiny_cifar.archive, tmp_path / "data")
    assert len(tiny_cifar.load().test_images) == 4


def test_cifar_without_network_names_the_file_its_folder_and_a_way_on(
    tiny_cifar: Cifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_offline(tiny_cifar, monkeypatch)
    put = rf"put {tiny_cifar.archive} \(from http.*\) into {tmp_path}/data, .*dataset=digits"
    with pytest.raises(
        DataError, match=rf"{tiny_cifar.title} is not complete in runtime.data=.*: {put}"
    ) as error:
        tiny_cifar.load()
    assert "\n" not in str(error.value)


def test_a_server_that_does_not_answer_is_given_up(
    tiny_cifar: Cifar10, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.2)
    official = getattr(torchvision.datasets, tiny_cifar.dataset)
    # The system accepts connections to it; nothing ever answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setattr(official, "url", f"http://127.0.0.1:{port}/{tiny_cifar.archive}")
        with pytest.raises(DataError, match=r"cannot be downloaded \(.*timed out"):
            tiny_cifar.load()
    assert socket.getdefaulttimeout() is None


@tolerate_extraction
def test_a_truncated_download_is_not_left_behind(tiny_cifar: Cifar10, tmp_path: Path) -> None:
    archive = tmp_path / "web" / tiny_cifar.archive
    content = archive.read_bytes()
    archive.write_bytes(content[:1000])
    with pytest.raises(DataError, match="cannot be downloaded"):
        tiny_cifar.load()
    assert not (tmp_path / "data" / tiny_cifar.archive).exists()
    archive.write_bytes(content)
    assert len(tiny_cifar.load().test_images) == 4


def test_a_damaged_archive_put_there_is_named_and_kept(
    tiny_cifar: Cifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "data" / tiny_cifar.archive
    archive.parent.mkdir()
    archive.write_bytes(b"half an archive")
    go_offline(tiny_cifar, monkeypatch)
    with pytest.raises(DataError, match=rf": remove {archive}, incomplete or damaged; put"):
        tiny_cifar.load()
    assert archive.exists()


@tolerate_extraction
@pytest.mark.parametrize("index", [0, -1])
def test_a_damaged_folder_is_named_or_mended(
    index: int, tiny_cifar: Cifar10, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_cifar.load()
    folder = tmp_path / "data" / tiny_cifar.folder
    batches = [path for path in sorted(folder.iterdir()) if "meta" not in path.name]
    batches[index].write_bytes(b"damaged")
    assert len(tiny_cifar.load().test_images) == 4  # mended from the archive
    batches[index].write_bytes(b"damaged")
    (tmp_path / "data" / tiny_cifar.archive).unlink()
    go_offline(tiny_cifar, monkeypatch)
    with pytest.raises(DataError, match=rf": remove {folder}, incomplete or damaged; put"):
        tiny_cifar.load()


@tolerate_extraction
def test_damaged_class_names_are_refused(tiny_cifar: Cifar10, tmp_path: Path) -> None:
    tiny_cifar.load()
    folder = tmp_path / "data" / tiny_cifar.folder
    next(folder.glob("*meta")).write_bytes(b"damaged")
    with pytest.raises(DataError, match=rf": remove {folder}, incomplete or damaged; put"):
        tiny_cifar.load()
