"""The weights that torchvision publishes: their files in its cache, downloaded where needed."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from augean.downloads import download_timeout
from augean.suggestions import list_choices

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights in torchvision's cache."""

    path: Path
    classes: tuple[str, ...]
    """Names of the classes, in the order of the outputs."""


@dataclass(frozen=True)
class Transforms:
    """How images are prepared for a network with published weights."""

    image_size: int
    """Height and width in pixels of the crop at the centre."""
    resize: int
    """Length in pixels of the shorter side before the crop."""
    interpolation: str
    """bilinear or bicubic."""
    mean: list[float]
    """Per colour channel, like `std`, of values from 0 to 1."""
    std: list[float]


def weights_entry(network: str, name: str) -> Any:
    """Return torchvision's entry for weights of a network.

    Args:
        network: such as "resnet50".
        name: such as "DEFAULT" or "IMAGENET1K_V1".

    Raises:
        ValueError: when the network has no weights of that name.
    """
    import torchvision

    # With its aliases: DEFAULT is one.
    entries: dict[str, Any] = dict(torchvision.models.get_model_weights(network).__members__)
    if name not in entries:
        raise ValueError(f"{network} has no such weights{list_choices(name, list(entries), '')}")
    return entries[name]


def find_published_weights(network: str, name: str) -> PublishedWeights:
    """Return the file of weights of a network; it is downloaded where it is not there.

    Raises:
        ValueError: when the network has no weights of that name.
        OSError: when the file is not there and cannot be downloaded.
    """
    entry = weights_entry(network, name)
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / entry.url.rpartition("/")[2]
    if not path.exists():
        try:
            _download(entry.url, path)
        except Exception as error:  # sockets, the disk and a wrong digest raise many kinds
            raise OSError(
                f"{path.name} is not in {folder} and cannot be downloaded ({error}); put it"
                f" there, from {entry.url}"
            ) from error
    return PublishedWeights(path=path, classes=tuple(entry.meta["categories"]))


def find_transforms(network: str, name: str) -> Transforms:
    """Return the transforms that belong to weights of a network; the weights need not be there.

    Raises:
        ValueError: when the network has no weights of that name.
    """
    preset = weights_entry(network, name).transforms()
    return Transforms(
        image_size=preset.crop_size[0],
        resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
        mean=list(preset.mean),
        std=list(preset.std),
    )


def _download(url: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name ends in the first digits of the content's sha256: resnet50-11ad3fa6.pth.
    digest = path.stem.rpartition("-")[2]
    # A warning, as a preview downloads too: these go to stderr, where torch draws the progress.
    logger.warning(f"Downloading {url} to {path}")
    with download_timeout():
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest)
