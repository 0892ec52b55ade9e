"""Find the images of an image folder by its layout, and refuse a folder with another one.

Every file with the suffix of an image is either listed or refused with a message. The other files
in the folders of the classes are listed apart, so that none is left out without a word.
"""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from augean.datasets.image_decoding import IMAGE_SUFFIXES
from augean.datasets.image_listing import (
    FolderListing,
    ImageFiles,
    count_images,
    is_image,
    list_images,
)
from augean.errors import DataError
from augean.terminal import counted

PART_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}
"""Names of folders, in lower or upper case, that hold classes and are not classes themselves."""


@dataclass(frozen=True)
class ImageLayout:
    """The layout of an image folder: `train` and `test`, and the folders of the classes in them.

    A *part* is a folder of classes: "train", "test", or "" for the image folder itself.
    """

    folder: Path
    name: str
    """`dataset.name`, for messages."""

    def scan(self) -> FolderListing:
        """List all images and read their sizes and times.

        Takes about 0.2 s for 60,000 images: the cost of a digest that the index already has.

        Raises:
            DataError: when the folder does not have the layout, or cannot be read.
        """
        parts = self._find_parts()
        self._refuse_others(parts)
        classes = self._find_classes(parts)
        fingerprint = hashlib.sha256()
        paths: list[str] = []
        labels: list[NDArray[np.int64]] = []
        unread: list[str] = []
        others: list[str] = []
        num_bytes = 0
        num_before_test = 0
        for part in parts:
            for label, name in enumerate(classes):
                files = self._list_class(self.folder / part / name)
                fingerprint.update(repr((part, name, files.names)).encode())
                fingerprint.update(np.array(files.stamps, dtype=np.int64).tobytes())
                folder = f"{part}/{name}" if part else name
                paths += [f"{folder}/{file}" for file in files.names]
                unread += [f"{folder}/{file}" for file in files.unread]
                others += [f"{folder}/{file}" for file in files.others]
                labels.append(np.full(len(files.names), label, dtype=np.int64))
                num_bytes += sum(stamp.size for stamp in files.stamps)
            # `test` is the last part, so that the count stops before it.
            if part != "test":
                num_before_test = len(paths)
        if unread:
            raise DataError(describe_unread(self.folder, unread))
        return FolderListing(
            classes=classes,
            paths=paths,
            labels=np.concatenate(labels),
            num_before_test=num_before_test,
            has_test="test" in parts,
            others=others,
            num_bytes=num_bytes,
            fingerprint=fingerprint.hexdigest(),
        )

    def error(self, problem: str) -> DataError:
        """Return the error for a folder without this layout."""
        return DataError(
            f"dataset.name={self.name}: {problem}. Expected"
            f" {self.folder}/{{train,test}}/<class>/<image>, or without test, or"
            f" {self.folder}/<class>/<image>; the same classes in both and images of"
            f" {', '.join(IMAGE_SUFFIXES)}; put them there, or set runtime.data=<the folder that"
            f" contains {self.name}>"
        )

    def _find_parts(self) -> list[str]:
        """Return the parts: `train` and `test`, `train` alone, or "" for the folder itself.

        Raises:
            DataError: when there is `test` alone.
        """
        parts = [part for part in ("train", "test") if (self.folder / part).is_dir()]
        if parts == ["test"]:
            raise self.error(
                f"there is no folder {self.folder / 'train'}; {self.folder / 'test'} is taken for"
                " the test images: if it is a class, give it another name"
            )
        # Classes are looked for in a missing folder all the same, and the message then names it.
        if not self.folder.is_dir():
            return ["train", "test"]
        return parts or [""]

    def _refuse_others(self, parts: Sequence[str]) -> None:
        """Refuse images that lie beside `train` and `test`, as they would be left out.

        Where these two folders are missing, refuse a folder with a similar name, such as
        "training": its images would all become one class of this name.
        """
        try:
            names = sorted(name for name in os.listdir(self.folder) if not name.startswith("."))
        except OSError:
            return  # a folder that cannot be read is named when its classes are listed
        if parts == [""]:
            for name in names:
                path = self.folder / name
                if name.lower() in PART_NAMES and path.is_dir():
                    raise self.error(f"{path} is not taken for a class; rename it to train or test")
            return
        if "train" not in names:
            return  # it is Train or TRAIN, where the system ignores the case of letters
        for name in names:
            path = self.folder / name
            if name in ("train", "test"):
                continue
            count = count_images(path) if path.is_dir() else int(is_image(name))
            if count:
                raise DataError(
                    f"{path}: {counted(count, 'image')} beside the folder {parts[0]} would be left"
                    " out; only train (validation images are taken from there) and test are read:"
                    " move what you need into them"
                )

    def _find_classes(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the classes, sorted; a label is an index into them."""
        classes = self._class_names(parts[0])
        for part in parts[1:]:
            # Classes that only one of train and test has.
            unmatched = set(classes) ^ set(self._class_names(part))
            if unmatched:
                raise self.error(_describe_unmatched(sorted(unmatched)))
        if not classes:
            raise self.error(f"there is no class folder in {self.folder / parts[0]}")
        if len(classes) == 1:
            raise self.error(
                f"{classes[0]} is the only class folder in {self.folder / parts[0]}, and one class"
                " leaves nothing to learn"
            )
        return classes

    def _class_names(self, part: str) -> tuple[str, ...]:
        """Return the names of the class folders in one part, sorted."""
        folder = self.folder / part
        names = []
        strays = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        names.append(entry.name)
                    elif is_image(entry.name):
                        strays.append(entry.name)
        except OSError as error:
            raise self.error(f"cannot read {folder} ({error.strerror})") from error
        if strays:
            raise self.error(
                f"{counted(len(strays), 'image')} in {folder} itself, not in the folder of a class,"
                f" such as {min(strays)}"
            )
        for name in names:
            # A name that is not UTF-8 could not be written into summaries and tables.
            if os.fsencode(name).decode(errors="replace") != name:
                raise self.error(f"the name of a class is not valid UTF-8: {name!r} in {folder}")
        return tuple(sorted(names))

    def _list_class(self, folder: Path) -> ImageFiles:
        """List the images of a class.

        Raises:
            DataError: when the folder has no image, cannot be read, or holds a folder such as
                "train", with which it looks like a data set.
        """
        try:
            files = list_images(folder)
        except OSError as error:
            raise unreadable_error(error) from error
        for name in files.subfolders:
            if name.lower() in PART_NAMES:
                raise DataError(
                    f"{folder}: is not taken for a class, as it holds a folder {name}: if"
                    f" {folder.name} is a data set, set runtime.data={folder.parent}"
                    f" dataset.name={folder.name}; if it is a class, put its images into"
                    f" {self.folder}/{{train,test}}/{folder.name}, or give {name} another name"
                )
        if not files.names and not files.unread:
            raise self.error(f"there is no image in {folder}")
        return files


def _describe_unmatched(names: Sequence[str]) -> str:
    """Return the problem with classes that only one of `train` and `test` has."""
    problem = f"train and test do not both have the classes {', '.join(names)}"
    # An accented letter is one character or two (the letter, then its accent), which look the same.
    forms = [unicodedata.normalize("NFC", name) for name in names]
    alike = [ascii(name) for name, form in zip(names, forms, strict=True) if forms.count(form) > 1]
    if alike:
        problem += (
            f"; those that look the same differ in their characters ({', '.join(alike)}): rename"
            " the folder in one of the two"
        )
    return problem


def unreadable_error(error: OSError) -> DataError:
    """Return the error for a file or folder that `list_images` cannot read."""
    return DataError(f"{error.filename}: cannot be read ({error.strerror}); mend or remove it")


def describe_unread(folder: Path, names: Sequence[str]) -> str:
    """Return the message for images with suffixes that are not read.

    Args:
        names: of the files, relative to the folder.
    """
    return (
        f"{folder}: {counted(len(names), 'image')} would be left out, such as {names[0]}: only"
        f" {', '.join(IMAGE_SUFFIXES)} are read; convert such images, for instance to PNG, or move"
        " them away"
    )
