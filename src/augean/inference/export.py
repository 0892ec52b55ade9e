"""Export a trained network to a file for other programs.

The outputs of each file are compared with the network's own before the file gets its name.
"""

import importlib
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augean.errors import AugeanError
from augean.inference.load import TrainedModel
from augean.models.pretrained import load_state
from augean.runs.address import build_source
from augean.system_errors import require_packages
from augean.training.augmentation import normalize

TOLERANCE = 1e-3
"""Largest accepted difference of a logit, as a share of the largest logit. Sums in another order
cause such differences in fp32."""
NUM_CHECKED = 16
"""Number of random images on which a file is compared with the network."""


class FromPixels(nn.Module):
    """The network with its normalisation inside, so that it takes the pixels of images."""

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self.network = model.network
        self.mean = torch.tensor(model.config.dataset.mean)  # [3]
        self.std = torch.tensor(model.config.dataset.std)  # [3]

    def forward(self, images: Tensor) -> Tensor:
        """Map images uint8 [N, H, W, 3] to logits fp32 [N, classes]."""
        channels_first = images.permute(0, 3, 1, 2)  # [N, 3, H, W]
        logits: Tensor = self.network(normalize(channels_first, self.mean, self.std))
        return logits


def export(model: TrainedModel, target: Path) -> float:
    """Write the network to `target`, whose suffix names the format, .onnx or .safetensors.

    ONNX: input `images`, uint8 [N, H, W, 3]; output `logits`, fp32 [N, classes]. The normalisation
        is inside.
    Safetensors: the state dict, as in best.pt.

    Both hold metadata: the classes, the run's id, and mean, std and size for preparing an image.

    Args:
        model: loaded on the CPU.

    Returns:
        The largest difference from the network's own logits on random images, in fp32, as a share
        of the largest logit.

    Raises:
        AugeanError: when a package is missing, the file exists, the network cannot be converted, or
            the outputs of the file differ from the network's own.
    """
    if target.exists():
        raise AugeanError(f"{target}: exists; remove it, or name another file with --output")
    writers = {".onnx": _write_onnx, ".safetensors": _write_safetensors}
    write = writers[target.suffix]
    network = FromPixels(model).eval()
    images = _random_images(model.config.dataset.image_size)
    # A temporary file that keeps the suffix.
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        with torch.inference_mode():
            expected = network(images)
        outputs = write(network, images, _metadata(model), part)
        difference = float((outputs - expected).abs().max() / expected.abs().max())
        # `not <=` instead of `>`, so that NaN is refused too.
        if not difference <= TOLERANCE:
            raise AugeanError(
                f"{target}: not written, as its outputs differ from the network's by"
                f" {difference:.2g}"
            )
        part.replace(target)
    except OSError as error:
        raise AugeanError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)
    return difference


def _random_images(size: int) -> Tensor:
    """Return random images, uint8 [NUM_CHECKED, size, size, 3], the same on every call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (NUM_CHECKED, size, size, 3), generator=generator).byte()


def _metadata(model: TrainedModel) -> dict[str, str]:
    """Return the metadata of the file: each value is JSON, as the formats take only text."""
    dataset = model.config.dataset
    geometry = build_source(model.config).geometry
    preparation = {
        "mean": dataset.mean,
        "std": dataset.std,
        "image_size": dataset.image_size,
        "resize": geometry.shorter_side,
        "interpolation": geometry.interpolation,
    }
    return {
        "classes": json.dumps(model.classes),
        "run": json.dumps(model.summary.id),
        "dataset": json.dumps(preparation),
    }


def _write_onnx(
    network: FromPixels, images: Tensor, metadata: dict[str, str], path: Path
) -> Tensor:
    """Write the file and return its logits of the images, fp32 [N, classes]."""
    require_packages("onnx", "onnxscript", "onnxruntime", extra="export")
    # By name, as the type checker need not have these packages.
    onnx: Any = importlib.import_module("onnx")
    onnxruntime: Any = importlib.import_module("onnxruntime")
    try:
        with warnings.catch_warnings():
            # The exporter calls functions that torch itself has given up (2.11: LeafSpec). Where
            # warnings are errors, the export would fail.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            program = torch.onnx.export(
                network,
                (images,),
                input_names=["images"],
                output_names=["logits"],
                # The number of images is free; height and width are fixed.
                dynamic_shapes={"images": {0: torch.export.Dim("N")}},
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # a user's own network can raise anything while it is traced
        raise AugeanError(f"the network cannot be converted to ONNX: {error}") from error
    proto: Any = program.model_proto if program is not None else None
    onnx.helper.set_model_props(proto, metadata)
    onnx.save(proto, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    return torch.from_numpy(logits)


def _write_safetensors(
    network: FromPixels, images: Tensor, metadata: dict[str, str], path: Path
) -> Tensor:
    """Write the file and return the logits of the network with its weights, fp32 [N, classes]."""
    require_packages("safetensors", extra="export")
    safetensors: Any = importlib.import_module("safetensors.torch")
    weights = {}
    for name, value in network.network.state_dict().items():
        # Copied, as the format refuses tensors that share memory: those of one layer under two
        # names.
        weights[name] = value.clone(memory_format=torch.contiguous_format)
    path.write_bytes(safetensors.save(weights, metadata))
    # The weights are read back from the file, so that the comparison covers writing and reading.
    load_state(network.network, safetensors.load_file(path))
    with torch.inference_mode():
        logits: Tensor = network(images)
    return logits
