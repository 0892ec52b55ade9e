"""Decode image files to square arrays."""

import os
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from augean.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Suffixes of files that are read, in lower or upper case. Other files are ignored."""
DECODER = 1
"""Raised when the pixels that a file gives change, so that no older cache is read."""
CHUNK = 64
"""Files that a process decodes at a time."""
MAX_PROCESSES = 16
MOST_NAMED = 20
"""Files that one message names."""


@dataclass(frozen=True)
class Decoded:
    """What became of some files."""

    images: NDArray[np.uint8]
    """[N, size, size, 3]; black where a file could not be read."""
    problems: list[str]
    """A line for each file that could not be read."""


def decode_all(files: list[str], size: int, name: str, *, in_processes: bool) -> NDArray[np.uint8]:
    """Decode many files, with a progress bar on a terminal: uint8 [N, size, size, 3].

    Args:
        size: height and width in pixels.
        name: of the data set, for the bar.
        in_processes: whether several processes share the work.

    Raises:
        DataError: with the paths of the files that cannot be read.
    """
    starts = range(0, len(files), CHUNK)
    chunks = [files[start : start + CHUNK] for start in starts]
    decode_chunk = partial(decode_files, size=size)
    images = np.empty((len(files), size, size, 3), dtype=np.uint8)
    problems: list[str] = []
    with ExitStack() as stack:
        results: Iterable[Decoded] = map(decode_chunk, chunks)
        if in_processes:
            pool = stack.enter_context(_process_pool(len(chunks)))
            results = pool.map(decode_chunk, chunks)
        results = show_progress(results, "Decoding", name, len(chunks))
        for start, chunk in zip(starts, results, strict=True):
            images[start : start + CHUNK] = chunk.images
            problems += chunk.problems
    if problems:
        raise DataError(_describe_problems(problems))
    return images


def _describe_problems(problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{problems[0]}; replace or remove it"
    lines = problems[:MOST_NAMED]
    if len(problems) > MOST_NAMED:
        lines.append(f"and {len(problems) - MOST_NAMED} more")
    headline = f"{len(problems)} files are no images that can be read; replace or remove them:"
    return "\n  ".join([headline, *lines])


def _process_pool(num_chunks: int) -> Any:
    """Return a `ProcessPoolExecutor`.

    Processes, as small images hold the interpreter's lock: with 2 threads 10,000 of them take
    longer than with 1 (0.89 s against 0.77 s), with 2 processes half as long. Spawned, as torch may
    have threads that do not survive a fork.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    if hasattr(os, "sched_getaffinity"):
        num_cores = len(os.sched_getaffinity(0))
    else:
        num_cores = os.cpu_count() or 1
    num_processes = min(num_chunks, num_cores, MAX_PROCESSES)
    return ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"))


def decode_files(paths: list[str], size: int) -> Decoded:
    """Decode files, and go on after those that cannot be read, so that all are known at once."""
    images = np.zeros((len(paths), size, size, 3), dtype=np.uint8)
    problems = []
    for index, path in enumerate(paths):
        try:
            images[index] = _decode_file(path, size)
        except DataError as error:
            problems.append(str(error))
    return Decoded(images, problems)


def _decode_file(path: str, size: int) -> NDArray[np.uint8]:
    """Decode one file: uint8 [size, size, 3]."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                # Pillow would clip its values.
                raise ValueError(f"mode {image.mode}: convert it to 8 bits per channel")
            # By way of RGBA, as Pillow warns about palettes with transparency otherwise.
            has_transparency = "transparency" in image.info
            rgb = (image.convert("RGBA") if has_transparency else image).convert("RGB")
        if rgb.size != (size, size):
            rgb = _resize_and_crop(rgb, size)
        return np.asarray(rgb)
    except Exception as error:  # Pillow's plugins raise far more than OSError on broken files
        raise DataError(f"{path}: is no image that can be read ({error})") from error


def _resize_and_crop(image: Any, size: int) -> Any:
    """Resize a Pillow image by its shorter side and crop its centre.

    The rounding is torchvision's, of Resize and CenterCrop.
    """
    from PIL import Image

    width, height = image.size
    shorter = min(width, height)
    width = size * width // shorter
    height = size * height // shorter
    left = round((width - size) / 2)
    top = round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + size, top + size))


def show_progress(
    items: Iterable[Any], verb: str, name: str, total: int | None = None
) -> Iterable[Any]:
    """Show a progress bar on a terminal, nothing elsewhere."""
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(
        items,
        desc=f"{verb} {name}",
        total=total,
        unit_scale=True,
        leave=False,
        disable=None,  # where there is no terminal
    )
    return bar
