"""Trained networks: which run is meant, its network from the run's directory alone, and what that says of images."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
import yaml
from torch import Tensor, nn

from augean import records, rundir
from augean.build import build_model
from augean.config import Config, parse
from augean.datasets.image_folder import IMAGE_SUFFIXES, decode_files
from augean.errors import AugeanError, ConfigError, DataError
from augean.execute import build_source, find_address
from augean.fit import EVALUATION_BATCH, Inputs, autocast
from augean.training import find_device

Array = numpy.ndarray[Any, Any]
BEST = "best:"


def find_run(name: str, outputs: Path) -> Path:
    """The directory of the run that `name` means.

    Args:
        name: a path, the beginning of an id, or `best:<sweep>` for the run of a sweep, or of the trials of a study,
            with the highest validation accuracy (never the test's); ties go to the first.

    Raises:
        AugeanError: when that is no run, or several.
    """
    if name.startswith(BEST):
        return _best_of(name.removeprefix(BEST), outputs)
    if (Path(name) / "config.yaml").is_file():
        return Path(name)
    known = sorted(path for path in rundir.runs_dir(outputs).glob("*-*") if path.is_dir())
    found = [path for path in known if path.name == name or (name and path.name.rpartition("-")[2].startswith(name))]
    if len(found) == 1:
        return found[0]
    listed = "".join(f"\n  {path.name}" for path in (found or known)[:8]) or " none"
    what = f"{len(found)} runs begin with it" if found else "no run has an id that begins with it, nor is it a path"
    raise AugeanError(f"{name}: {what}; those in {outputs}:{listed}")


def _best_of(sweep: str, outputs: Path) -> Path:
    known, _ = records.read_all(outputs)
    found = [record for record in known if record.name == sweep] or [r for r in known if r.name.startswith(sweep)]
    if len(found) != 1:
        names = ", ".join(record.name for record in found or known) or "none"
        raise AugeanError(f"{BEST}{sweep}: names no single sweep; those in {outputs}: {names}")
    scores: dict[Path, float] = {}
    for job in found[0].jobs:
        path = rundir.runs_dir(outputs) / job.run
        summary = rundir.read_summary(path)
        if summary is not None and summary["status"] == "finished" and summary.get("val_accuracy") is not None:
            scores[path] = summary["val_accuracy"]
    if not scores:
        raise AugeanError(f"{BEST}{sweep}: none of its runs is finished with a validation accuracy; name a run instead")
    return max(scores, key=lambda path: scores[path])


@dataclass
class Trained:
    """A run's network with the selected weights, in evaluation mode."""

    path: Path
    config: Config
    summary: dict[str, Any]
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


def load_run(path: Path, *, data: str, device: str, allowed_packages: Sequence[str]) -> Trained:
    """The network of a finished run, from its directory alone.

    Args:
        data: folder of the data sets, as `runtime.data`.
        allowed_packages: as `runtime.allowed_packages`: a run directory may come from anyone.

    Raises:
        AugeanError: when the run is not finished, is damaged, has a network that Augean's config does not describe, or
            needs a device or a package that is not there.
    """
    summary = rundir.read_summary(path)
    if summary is None:
        state = rundir.state(path.parent.parent, path, path.name.rpartition("-")[2])
        raise AugeanError(f"{path}: is {state}, not finished; give its training command again or name another run")
    if summary["status"] == "diverged":
        raise AugeanError(f"{path}: diverged, so it has no weights; name another run")
    loop = summary.get("loop", "Augean's")
    for name in ("config.yaml", "best.pt"):
        if name not in summary["files"]:
            raise AugeanError(f"{path}: has no {name}; a loop of one's own, here {loop}, gives weights to run.finish")
        if not (path / name).is_file() or rundir.sha256(path / name) != summary["files"][name]:
            raise AugeanError(f"{path / name}: gone, damaged or altered; remove the directory and train the run again")
    try:
        content: Any = yaml.safe_load((path / "config.yaml").read_bytes())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AugeanError(f"{path / 'config.yaml'}: no valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise AugeanError(f"{path}: the config of {loop} describes no network that Augean can build")
    content.pop("defaults", None)
    runtime = {"data": data, "device": device, "allowed_packages": list(allowed_packages)}
    try:
        config = parse({**content, "runtime": runtime})
    except ConfigError as error:
        raise ConfigError(f"{path / 'config.yaml'}: {error}\n(of this command the option --allow PACKAGE)") from error
    head: list[str] = []
    if (path / "confusion.csv").is_file():
        head = next(csv.reader(rundir.read_checked(path, "confusion.csv").decode(errors="replace").splitlines()), [])
    classes = tuple(head[1:]) or build_source(config).load().classes
    network, place = build_model(config, len(classes)).eval(), find_device(device)
    try:
        network.load_state_dict(torch.load(path / "best.pt", map_location="cpu", weights_only=True))
    except Exception as error:  # rubbish fails in every way that torch knows; no code of it is run
        reason = (str(error).splitlines() or [""])[0]
        raise AugeanError(f"{path / 'best.pt'}: no weights of this network; was its code edited? {reason}") from error
    return Trained(path, config, summary, classes, network.to(place), place)


def read_test_set(run: Trained) -> tuple[Array, Array]:
    """The run's own test set: uint8 [N, H, W, 3] and labels [N].

    Raises:
        DataError: when it is not there, or not the data (nor the own code) that the run's address stands for.
    """
    identity = find_address(run.config, run.summary.get("loop_digest")).id
    if identity != run.summary["id"]:
        raise DataError(
            f"dataset.name={run.config.dataset.name}: the data in runtime.data={run.config.runtime.data}, or own code, "
            f"has changed since run {run.summary['id']}: now it would be run {identity}"
        )
    images = build_source(run.config).load()
    return images.test_images, images.test_labels


def read_images(run: Trained, paths: Sequence[str]) -> Array:
    """Images as the run takes them, cut and resized as those of an `ImageFolder`: uint8 [N, H, W, 3].

    Raises:
        DataError: when one cannot be read.
    """
    return decode_files(list(paths), run.config.dataset.image_size)


def read_folder(run: Trained, folder: Path) -> tuple[Array, Array]:
    """The images of `<folder>/<class>/*`, where not every class need be: uint8 [N, H, W, 3] and labels [N].

    Raises:
        DataError: when a folder is no class of the run, there is no image, or one cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"--images {folder}: no such folder; it holds <class>/<image>")
    names = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())
    listed = ", ".join(run.classes)
    if strange := [name for name in names if name not in run.classes]:
        raise DataError(f"{folder}: {', '.join(strange)}: no class of the run, whose classes are {listed}")
    files = [(str(path), run.classes.index(name)) for name in names for path in sorted((folder / name).iterdir())]
    files = [(path, label) for path, label in files if path.lower().endswith(IMAGE_SUFFIXES)]
    if not files:
        raise DataError(f"{folder}: no image in {folder}/<class>/, with <class> one of {listed}")
    return read_images(run, [path for path, _ in files]), numpy.array([label for _, label in files])
