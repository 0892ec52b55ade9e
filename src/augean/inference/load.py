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
from augean.datasets.image_decoding import IMAGE_SUFFIXES, decode_all
from augean.errors import AugeanError, ConfigError, DataError
from augean.runs.address import build_source, find_address
from augean.store.files import file_sha256
from augean.store.run_directory import read_verified, run_state
from augean.store.summary import RunState, RunSummary, read_summary
from augean.training.build import build_model
from augean.training.device import autocast, exact_fp32, find_device
from augean.training.loop import EVALUATION_BATCH
from augean.training.step import Inputs

Array = numpy.ndarray[Any, Any]


@dataclass
class TrainedModel:
    """A run's network with the selected weights, in evaluation mode."""

    path: Path
    """The run's directory."""
    config: Config
    summary: RunSummary
    classes: tuple[str, ...]
    """Names, in the order of the logits."""
    network: nn.Module
    device: torch.device

    def score(self, images: Array) -> Tensor:
        """Return logits, fp32 [N, classes] on the CPU, computed at the precision of the run.

        Args:
            images: uint8 [N, H, W, 3].
        """
        inputs = Inputs(self.network, self.config, self.device)
        batches = []
        with torch.inference_mode(), exact_fp32():
            for start in range(0, len(images), EVALUATION_BATCH):
                batch = torch.from_numpy(images[start : start + EVALUATION_BATCH]).to(self.device)
                with autocast(self.config, self.device):
                    # [B, H, W, 3] -> [B, 3, H, W] -> [B, classes]
                    logits = self.network(inputs(batch.permute(0, 3, 1, 2)))
                batches.append(logits.float().cpu())
        return torch.cat(batches)


def load_model(
    path: Path, *, data: str, device: str, allowed_packages: Sequence[str]
) -> TrainedModel:
    """Load the network of a finished run from its directory.

    Args:
        data: folder of the data sets, as `runtime.data`.
        device: as `runtime.device`.
        allowed_packages: as `runtime.allowed_packages`: a run directory may come from anyone.

    Raises:
        AugeanError: when the run is not finished, is damaged, has a network that Augean's config
            does not describe, or needs a device or a package that is not there.
    """
    summary = _read_finished(path)
    _check_files(path, summary)
    runtime = {"data": data, "device": device, "allowed_packages": list(allowed_packages)}
    config = _read_config(path, summary, runtime)
    classes = _read_class_names(path) or build_source(config).load().classes
    with exact_fp32():
        network = build_model(config, len(classes)).eval()
    _load_weights(path / "best.pt", network)
    place = find_device(device)
    return TrainedModel(
        path=path,
        config=config,
        summary=summary,
        classes=classes,
        network=network.to(place),
        device=place,
    )


def _read_finished(path: Path) -> RunSummary:
    """Read the summary of a run that has weights."""
    summary = read_summary(path)
    if summary is None:
        # Directories are <outputs>/runs/<name>-<id>.
        run_id = path.name.rpartition("-")[2]
        outputs = path.parent.parent
        state = run_state(outputs, path, run_id)
        raise AugeanError(
            f"{path}: is {state}, not finished; give its training command again or name another run"
        )
    if summary.status == RunState.DIVERGED:
        raise AugeanError(f"{path}: diverged, so it has no weights; name another run")
    return summary


def _check_files(path: Path, summary: RunSummary) -> None:
    """Compare config and weights with their digests in the summary."""
    for name in ("config.yaml", "best.pt"):
        if name not in summary.files:
            raise AugeanError(
                f"{path}: has no {name}; a loop of one's own, here {_loop_name(summary)}, gives"
                " weights to run.finish"
            )
        if not (path / name).is_file() or file_sha256(path / name) != summary.files[name]:
            raise AugeanError(
                f"{path / name}: gone, damaged or altered; remove the directory and train the run"
                " again"
            )


def _loop_name(summary: RunSummary) -> str:
    return summary.loop or "Augean's"


def _read_config(path: Path, summary: RunSummary, runtime: dict[str, Any]) -> Config:
    """Read config.yaml, which is without `runtime`, and complete it."""
    file = path / "config.yaml"
    try:
        content: Any = yaml.safe_load(file.read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AugeanError(f"{file}: no valid YAML ({' '.join(str(error).split())})") from error
    # The config of a custom loop may be anything.
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise AugeanError(
            f"{path}: the config of {_loop_name(summary)} describes no network that Augean can"
            " build"
        )
    content.pop("defaults", None)  # Hydra's, when the file is given to train.py
    try:
        return parse_config({**content, "runtime": runtime})
    except ConfigError as error:
        raise ConfigError(
            f"{file}: {error}\n(of this command the option --allow PACKAGE)"
        ) from error


def _read_class_names(path: Path) -> tuple[str, ...]:
    """Read the classes from the head of confusion.csv, which spares loading the data set.

    Returns:
        An empty tuple where a custom loop has not written the file.
    """
    if not (path / "confusion.csv").is_file():
        return ()
    text = read_verified(path, "confusion.csv").decode(errors="replace")
    head: list[str] = next(csv.reader(text.splitlines()), [])
    return tuple(head[1:])  # the first column holds the true class


def _load_weights(file: Path, network: nn.Module) -> None:
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except Exception as error:  # rubbish fails in every way that torch knows; no code of it is run
        lines = str(error).splitlines() or [""]
        raise AugeanError(
            f"{file}: no weights of this network; was its code edited? {lines[0]}"
        ) from error


def read_test_set(run: TrainedModel) -> tuple[Array, Array]:
    """Read the run's own test set: uint8 [N, H, W, 3] and labels [N].

    Raises:
        DataError: when it is not there, or not the data (nor the own code) that the run's address
            stands for.
    """
    run_id = find_address(run.config, run.summary.loop_digest).id
    if run_id != run.summary.id:
        raise DataError(
            f"dataset.name={run.config.dataset.name}: the data in"
            f" runtime.data={run.config.runtime.data}, or own code, has changed since run"
            f" {run.summary.id}: now it would be run {run_id}"
        )
    images = build_source(run.config).load()
    return images.test_images, images.test_labels


def read_images(run: TrainedModel, paths: Sequence[str]) -> Array:
    """Read images as the run takes them: uint8 [N, H, W, 3].

    They are cut and resized as those of an `ImageFolder`.

    Raises:
        DataError: when one cannot be read.
    """
    size = run.config.dataset.image_size
    return decode_all(list(paths), size, "images", in_processes=False)


def read_folder(run: TrainedModel, folder: Path) -> tuple[Array, Array]:
    """Read the images of `<folder>/<class>/*`: uint8 [N, H, W, 3] and labels [N].

    The folder may hold some of the run's classes only.

    Raises:
        DataError: when a folder is not a class of the run, there is no image, or one cannot be
            read.
    """
    if not folder.is_dir():
        raise DataError(f"--images {folder}: no such folder; it holds <class>/<image>")
    names = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())
    listed = ", ".join(run.classes)
    # A mistyped folder would be images without a class; better to refuse it than to skip it.
    strange = [name for name in names if name not in run.classes]
    if strange:
        raise DataError(
            f"{folder}: {', '.join(strange)}: no class of the run, whose classes are {listed}"
        )
    paths: list[str] = []
    labels: list[int] = []
    for name in names:
        for path in sorted((folder / name).iterdir()):
            if path.name.lower().endswith(IMAGE_SUFFIXES):
                paths.append(str(path))
                labels.append(run.classes.index(name))
    if not paths:
        raise DataError(f"{folder}: no image in {folder}/<class>/, with <class> one of {listed}")
    return read_images(run, paths), numpy.array(labels)
