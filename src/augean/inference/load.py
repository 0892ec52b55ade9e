"""Load a trained network from its run's directory alone, and read images for it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
import yaml
from torch import Tensor, nn

from augean.config.schema import Config
from augean.config.validation import parse_config
from augean.datasets.image_folder import IMAGE_SUFFIXES, decode_files
from augean.errors import AugeanError, ConfigError, DataError
from augean.runs.address import build_source, find_address
from augean.store.files import file_sha256
from augean.store.run_directory import read_verified, run_state
from augean.store.summary import RunState, RunSummary, read_summary
from augean.training.build import build_model
from augean.training.device import autocast, find_device
from augean.training.loop import EVALUATION_BATCH
from augean.training.step import Inputs

Array = numpy.ndarray[Any, Any]


@dataclass
class TrainedModel:
    """A run's network with the selected weights, in evaluation mode."""

    path: Path
    config: Config
    summary: RunSummary
    classes: tuple[str, ...]
    network: nn.Module
    device: torch.device

    def score(self, images: Array) -> Tensor:
        """Logits, fp32 [N, classes] on the CPU, at the precision of the run.

        Args:
            images: uint8 [N, H, W, 3].
        """
        inputs, batches = Inputs(self.network, self.config, self.device), []
        with torch.inference_mode():
            for start in range(0, len(images), EVALUATION_BATCH):
                batch = torch.from_numpy(images[start : start + EVALUATION_BATCH]).to(self.device)
                with autocast(self.config, self.device):
                    logits = self.network(inputs(batch.permute(0, 3, 1, 2)))
                batches.append(logits.float().cpu())
        return torch.cat(batches)


def load_model(
    path: Path, *, data: str, device: str, allowed_packages: Sequence[str]
) -> TrainedModel:
    """The network of a finished run, from its directory alone.

    Args:
        data: folder of the data sets, as `runtime.data`.
        allowed_packages: as `runtime.allowed_packages`: a run directory may come from anyone.

    Raises:
        AugeanError: when the run is not finished, is damaged, has a network that Augean's config
            does not describe, or needs a device or a package that is not there.
    """
    summary = read_summary(path)
    if summary is None:
        state = run_state(path.parent.parent, path, path.name.rpartition("-")[2])
        raise AugeanError(
            f"{path}: is {state}, not finished; give its training command again or name another run"
        )
    if summary.status == RunState.DIVERGED:
        raise AugeanError(f"{path}: diverged, so it has no weights; name another run")
    loop = summary.loop or "Augean's"
    for name in ("config.yaml", "best.pt"):
        if name not in summary.files:
            raise AugeanError(
                f"{path}: has no {name}; a loop of one's own, here {loop}, gives weights to"
                " run.finish"
            )
        if not (path / name).is_file() or file_sha256(path / name) != summary.files[name]:
            raise AugeanError(
                f"{path / name}: gone, damaged or altered; remove the directory and train the run"
                " again"
            )
    try:
        content: Any = yaml.safe_load((path / "config.yaml").read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AugeanError(
            f"{path / 'config.yaml'}: no valid YAML ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise AugeanError(
            f"{path}: the config of {loop} describes no network that Augean can build"
        )
    content.pop("defaults", None)
    runtime = {"data": data, "device": device, "allowed_packages": list(allowed_packages)}
    try:
        config = parse_config({**content, "runtime": runtime})
    except ConfigError as error:
        raise ConfigError(
            f"{path / 'config.yaml'}: {error}\n(of this command the option --allow PACKAGE)"
        ) from error
    head: list[str] = []
    if (path / "confusion.csv").is_file():
        head = next(
            csv.reader(read_verified(path, "confusion.csv").decode(errors="replace").splitlines()),
            [],
        )
    classes = tuple(head[1:]) or build_source(config).load().classes
    network, place = build_model(config, len(classes)).eval(), find_device(device)
    try:
        network.load_state_dict(torch.load(path / "best.pt", map_location="cpu", weights_only=True))
    except Exception as error:  # rubbish fails in every way that torch knows; no code of it is run
        reason = (str(error).splitlines() or [""])[0]
        raise AugeanError(
            f"{path / 'best.pt'}: no weights of this network; was its code edited? {reason}"
        ) from error
    return TrainedModel(path, config, summary, classes, network.to(place), place)


def read_test_set(run: TrainedModel) -> tuple[Array, Array]:
    """The run's own test set: uint8 [N, H, W, 3] and labels [N].

    Raises:
        DataError: when it is not there, or not the data (nor the own code) that the run's address
            stands for.
    """
    identity = find_address(run.config, run.summary.loop_digest).id
    if identity != run.summary.id:
        raise DataError(
            f"dataset.name={run.config.dataset.name}: the data in"
            f" runtime.data={run.config.runtime.data}, or own code, has changed since run"
            f" {run.summary.id}: now it would be run {identity}"
        )
    images = build_source(run.config).load()
    return images.test_images, images.test_labels


def read_images(run: TrainedModel, paths: Sequence[str]) -> Array:
    """Images as the run takes them, cut and resized as those of an `ImageFolder`: uint8 [N, H, W,
    3].

    Raises:
        DataError: when one cannot be read.
    """
    return decode_files(list(paths), run.config.dataset.image_size)


def read_folder(run: TrainedModel, folder: Path) -> tuple[Array, Array]:
    """The images of `<folder>/<class>/*`, where not every class need be: uint8 [N, H, W, 3] and
    labels [N].

    Raises:
        DataError: when a folder is no class of the run, there is no image, or one cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"--images {folder}: no such folder; it holds <class>/<image>")
    names = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())
    listed = ", ".join(run.classes)
    if strange := [name for name in names if name not in run.classes]:
        raise DataError(
            f"{folder}: {', '.join(strange)}: no class of the run, whose classes are {listed}"
        )
    files = [
        (str(path), run.classes.index(name))
        for name in names
        for path in sorted((folder / name).iterdir())
    ]
    files = [(path, label) for path, label in files if path.lower().endswith(IMAGE_SUFFIXES)]
    if not files:
        raise DataError(f"{folder}: no image in {folder}/<class>/, with <class> one of {listed}")
    return read_images(run, [path for path, _ in files]), numpy.array([label for _, label in files])
