"""Load a trained network from the directory of its run."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from augean.config.schema import Config
from augean.config.validation import parse_config
from augean.config.yaml_files import parse_yaml
from augean.errors import AugeanError, ConfigError
from augean.models.pretrained import load_state
from augean.regular_files import (
    CONFIG_BYTES,
    WEIGHTS_BYTES,
    digest_regular,
    open_regular,
    read_regular,
)
from augean.runs.address import build_source
from augean.runs.training_command import RETRAIN_FOLDER, retrained_path, run_command
from augean.store.run_directory import place_at, run_state
from augean.store.run_files import CONFIG, WEIGHTS
from augean.store.summary import RunState, RunSummary, read_summary
from augean.store.weights_file import read_class_names
from augean.training.build import build_model
from augean.training.device import exact_fp32, find_device
from augean.training.loop import evaluation_batch, logits_of


@dataclass
class TrainedModel:
    """The network of a finished run with its selected weights, in evaluation mode."""

    path: Path
    """The run's directory."""
    config: Config
    summary: RunSummary
    classes: tuple[str, ...]
    """Names of the classes, in the order of the logits."""
    network: nn.Module
    device: torch.device

    def score(self, images: NDArray[numpy.uint8]) -> Tensor:
        """Compute the logits of images at the precision of the run.

        Returns:
            fp32 [N, classes] on the CPU.

        Args:
            images: uint8 [N, H, W, 3].
        """
        size = evaluation_batch(images.shape[1])
        starts = range(0, len(images), size)
        batches = (
            torch.from_numpy(images[start : start + size]).to(self.device) for start in starts
        )
        with torch.inference_mode(), exact_fp32():
            logits = logits_of(self.network, batches, self.config, self.device)
            return torch.cat([batch.cpu() for batch in logits])


def load_model(
    path: Path, *, data: str | None, device: str, allowed_packages: Sequence[str]
) -> TrainedModel:
    """Load the network of a finished run from its directory.

    Args:
        path: the run's directory.
        data: folder of the data sets, as in `runtime.data`; None: its default or, where that does
            not hold the run's data set, the one that the run was trained from.
        device: as in `runtime.device`.
        allowed_packages: packages whose classes may be used, as in `runtime.allowed_packages`. A
            run directory may come from a stranger.

    Raises:
        AugeanError: when the run is not finished or is damaged, when its config does not describe
            the network, or when a device or a package is missing.
    """
    summary = _read_finished(path)
    _check_files(path, summary)
    runtime: dict[str, Any] = {"device": device, "allowed_packages": list(allowed_packages)}
    if data is not None:
        runtime["data"] = data
    config = _read_config(path, summary, runtime)
    if data is None:
        config = _with_found_data(path, summary, config)
    # Without confusion.csv the names are in the data set, which takes longer to read.
    classes = read_class_names(path) or build_source(config).read_classes()
    # Weights are stored in fp32, whatever default type the calling program has set.
    with exact_fp32():
        network = build_model(config, len(classes)).eval()
    _load_weights(path / WEIGHTS, network)
    torch_device = find_device(device)
    return TrainedModel(
        path=path,
        config=config,
        summary=summary,
        classes=classes,
        network=network.to(torch_device),
        device=torch_device,
    )


def _read_finished(path: Path) -> RunSummary:
    """Read the summary of a run that has weights.

    Raises:
        AugeanError: when the run is not finished, or diverged.
    """
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
    """Compare config and weights with their digests in the summary.

    Raises:
        AugeanError: when one is missing or was altered.
    """
    for name in (CONFIG, WEIGHTS):
        if name not in summary.files:
            raise AugeanError(
                f"{path}: has no {name}, as the loop {_loop_name(summary)} did not write it; a"
                " custom loop passes its weights to run.finish"
            )
        file = path / name
        digest = _digest(file)
        if digest == summary.files[name]:
            continue
        problem = "was altered or damaged after the run."
        if digest is None:
            problem = (
                "is not here; was it removed by augean clean, or did the run come without it, as"
                " from archives?"
            )
        raise AugeanError(f"{file}: {problem} {_recovery_advice(path, summary, name)}")


def _recovery_advice(path: Path, summary: RunSummary, name: str) -> str:
    """Say how to get a file of a run back without a change to the run's recorded result.

    Args:
        name: of the file.
    """
    # Neither an altered config nor a custom loop can be trained from here.
    if name == CONFIG or summary.loop is not None:
        return f"Use the run where it was trained, or bring its {name} from there"
    command = run_command(path, summary, into=RETRAIN_FOLDER)
    # A run lies in <outputs>/runs/<run>.
    retrain_outputs = retrained_path(path).parent.parent
    return (
        f"Use the run where it was trained, or train it once more, beside its result, and give"
        f" --outputs {shlex.quote(str(retrain_outputs))}:\n  {command}"
    )


def _digest(file: Path) -> str | None:
    """Return the digest of a file; None where it cannot be read."""
    try:
        return digest_regular(file)
    except OSError:
        return None


def _loop_name(summary: RunSummary) -> str:
    """Return the file name of the loop that trained the run, for messages."""
    return summary.loop or "Augean's"


def _read_config(path: Path, summary: RunSummary, runtime: dict[str, Any]) -> Config:
    """Read config.yaml and add `runtime`, which the file does not have.

    Raises:
        AugeanError: when the file is not valid YAML, or does not describe a network.
        ConfigError: when it is not a valid config.
    """
    file = path / CONFIG
    try:
        content = parse_yaml(read_regular(file, CONFIG_BYTES))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AugeanError(f"{file}: no valid YAML ({reason})") from error
    # The config of a custom loop may be anything.
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise AugeanError(
            f"{path}: the config of {_loop_name(summary)} does not describe a network that Augean"
            " can build"
        )
    content.pop("defaults", None)  # Hydra's own key, for when the file is passed to train.py
    try:
        return parse_config({**content, "runtime": runtime})
    except ConfigError as error:
        hint = ""
        if "runtime.allowed_packages" in str(error):
            hint = "\n(of this command the option --allow PACKAGE)"
        raise ConfigError(f"{file}: {error}{hint}") from error


def _with_found_data(path: Path, summary: RunSummary, config: Config) -> Config:
    """Return the config with the folder that holds the run's data set.

    That is the default of `runtime.data`, or else the folder that the summary names.
    """
    place = (summary.places or {}).get("data")
    if place is None or build_source(config).is_here():
        return config
    # A run lies in <outputs>/runs/<run>.
    recorded_folder = place_at(path.absolute().parent.parent, place)
    found = replace(config, runtime=replace(config.runtime, data=str(recorded_folder)))
    return found if build_source(found).is_here() else config


def _load_weights(file: Path, network: nn.Module) -> None:
    """Load a state dict into the network.

    Raises:
        AugeanError: when the file does not hold weights of this network.
    """
    try:
        # `weights_only`: no code of the file is executed.
        with open_regular(file, WEIGHTS_BYTES) as content:
            weights = torch.load(content, map_location="cpu", weights_only=True)
        load_state(network, weights)
    except Exception as error:  # torch raises many kinds for a file that holds something else
        # torch lists every missing weight in further lines; the first says enough.
        lines = str(error).splitlines() or [""]
        raise AugeanError(
            f"{file}: does not hold the weights of this network; was its code edited? {lines[0]}"
        ) from error
