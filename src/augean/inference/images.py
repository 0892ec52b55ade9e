"""Read the images that a trained network is used on: its test set, a folder, or single files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy
from numpy.typing import NDArray

from augean.analysis.freshness import FreshnessCheck
from augean.datasets.image_decoding import decode_in_chunks
from augean.datasets.image_layout import describe_unread, unreadable_error
from augean.datasets.image_listing import is_image, list_images
from augean.errors import DataError
from augean.inference.load import TrainedModel
from augean.runs.address import build_source, find_address
from augean.terminal import counted


def read_test_set(model: TrainedModel) -> tuple[NDArray[numpy.uint8], NDArray[numpy.int64]]:
    """Read the test set of the run's own data.

    Returns:
        Images, uint8 [N, H, W, 3], and labels, int64 [N].

    Raises:
        DataError: when the data is missing, or when the data or own code is not the one that the
            run was trained with.
    """
    # The id covers the data and the user's code: it is the same only if both are.
    run_id = find_address(model.config, model.summary.loop_digest, model.summary.weights_digest).id
    if run_id != model.summary.id:
        freshness = FreshnessCheck(model.path.parent.parent).check(model.summary)
        reason = f" ({freshness.reason})" if freshness.outdated == "yes" else ""
        raise DataError(
            f"dataset.name={model.config.dataset.name}: the data in"
            f" runtime.data={model.config.runtime.data}, or own code, has changed since run"
            f" {model.summary.id}{reason}: now it would be run {run_id}"
        )
    images = build_source(model.config).load_lazily()
    return images.test_images.copy(), images.test_labels


def image_files(names: Sequence[str]) -> list[str]:
    """Return the image files that a command line names; a folder stands for all images below it.

    Raises:
        DataError: when a folder has no image, or one that cannot be read.
    """
    files: list[str] = []
    for name in names:
        if not os.path.isdir(name):
            files.append(name)
            continue
        folder = Path(name)
        try:
            listing = list_images(folder)
        except OSError as error:
            raise unreadable_error(error) from error
        if listing.unread:
            raise DataError(describe_unread(folder, listing.unread))
        if not listing.names:
            raise DataError(f"{folder}: no image in it; name a folder of images, or image files")
        files += [str(folder / image) for image in listing.names]
    return files


def read_images(model: TrainedModel, paths: Sequence[str]) -> NDArray[numpy.uint8]:
    """Read image files at the run's image size: uint8 [N, H, W, 3].

    They are resized and cropped like those of the run's `ImageFolder`.

    Raises:
        DataError: names the files that cannot be read.
    """
    geometry = build_source(model.config).geometry
    chunks = decode_in_chunks(list(paths), geometry, "images", in_processes=False)
    return numpy.concatenate(list(chunks))


def read_folder(
    model: TrainedModel, folder: Path
) -> tuple[NDArray[numpy.uint8], NDArray[numpy.int64]]:
    """Read the images in `<folder>/<class>/`.

    Classes of the run may be missing.

    Returns:
        Images, uint8 [N, H, W, 3], and labels, int64 [N].

    Raises:
        DataError: when a folder is not named like a class of the run, there is no image, or one
            cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"--images {folder}: no such folder; it holds <class>/<image>")
    names = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())
    class_list = ", ".join(model.classes)
    # A folder with a mistyped name is refused: if it were skipped, the accuracy would lack its
    # images.
    unknown_names = [name for name in names if name not in model.classes]
    if unknown_names:
        raise DataError(
            f"{folder}: {', '.join(unknown_names)}: not classes of the run, whose classes are"
            f" {class_list}"
        )
    _refuse_images_beside(folder)
    paths: list[str] = []
    labels: list[int] = []
    unread: list[str] = []
    for name in names:
        try:
            files = list_images(folder / name)
        except OSError as error:
            raise unreadable_error(error) from error
        paths += [str(folder / name / file) for file in files.names]
        unread += [f"{name}/{file}" for file in files.unread]
        labels += [model.classes.index(name)] * len(files.names)
    if unread:
        raise DataError(describe_unread(folder, unread))
    if not paths:
        raise DataError(
            f"{folder}: no image in {folder}/<class>/, with <class> one of {class_list}"
        )
    return read_images(model, paths), numpy.array(labels)


def _refuse_images_beside(folder: Path) -> None:
    """Refuse images that lie beside the folders of the classes, so that they have no label."""
    files = [path.name for path in folder.glob("[!.]*") if path.is_file()]
    images = sorted(name for name in files if is_image(name))
    if images:
        raise DataError(
            f"--images {folder}: {counted(len(images), 'image')} beside the folders of the classes,"
            f" such as {images[0]}; move each into its <class>/ or away"
        )
