"""Export a trained network for use elsewhere, each file checked against the network itself before
it gets its name.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from augean.errors import AugeanError
from augean.inference.load import TrainedModel
from augean.system_errors import require_packages
from augean.training.augmentation import normalize

TOLERANCE = 1e-3
"""Largest difference of a logit, relative to the largest one, that sums in another order may cause
in fp32."""
NUM_CHECKED = 16


class FromPixels(nn.Module):
    """The network with its normalisation: pixels as images have them in, logits out."""

    def __init__(self, run: TrainedModel) -> None:
        super().__init__()
        self.network = run.network
        self.mean, self.std = (
            torch.tensor(values) for values in (run.config.dataset.mean, run.config.dataset.std)
        )

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] to fp32 [N, classes]."""
        logits: Tensor = self.network(normalize(images.permute(0, 3, 1, 2), self.mean, self.std))
        return logits


def export(run: TrainedModel, target: Path) -> float:
    """Write the network to `target`, in the format that its ending names, .onnx or .safetensors.

    ONNX: input `images`, uint8 [N, H, W, 3]; output `logits`, fp32 [N, classes]; the normalisation
        is inside.
    Safetensors: the state dict, as in best.pt. Both carry the classes, the run's id and the config
        as metadata.

    Returns:
        The largest difference to the network's own logits on random images, in fp32, as a share of
        the largest logit.

    Raises:
        AugeanError: when a package is missing, the file exists, the network cannot be converted, or
            the file does not give the network's own outputs.
    """
    if target.exists():
        raise AugeanError(f"{target}: exists; remove it, or name another file with --output")
    writers = {".onnx": _write_onnx, ".safetensors": _write_safetensors}
    if target.suffix not in writers:
        raise AugeanError(
            f"{target}: the name must end in {' or '.join(writers)}, which names the format"
        )
    config, size = run.config, run.config.dataset.image_size
    dataset = {"mean": config.dataset.mean, "std": config.dataset.std, "image_size": size}
    facts = {"classes": list(run.classes), "run": run.summary.id, "dataset": dataset}
    metadata = {name: json.dumps(value) for name, value in facts.items()}
    images = torch.randint(
        256, (NUM_CHECKED, size, size, 3), generator=torch.Generator().manual_seed(0)
    ).byte()
    network = FromPixels(run).eval()
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        with torch.inference_mode():
            expected = network(images)
        found = writers[target.suffix](network, images, metadata, part)
        difference = float((found - expected).abs().max() / expected.abs().max())
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


def _write_onnx(
    network: FromPixels, images: Tensor, metadata: dict[str, str], path: Path
) -> Tensor:
    require_packages("onnx", "onnxscript", "onnxruntime", extra="export")
    onnx: Any = importlib.import_module("onnx")
    onnxruntime: Any = importlib.import_module("onnxruntime")
    try:
        program = torch.onnx.export(
            network,
            (images,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("N")}},
            dynamo=True,
            verbose=False,
        )
    except Exception as error:  # own networks can fail in every way that tracing knows
        raise AugeanError(f"the network cannot be converted to ONNX: {error}") from error
    model: Any = program.model_proto if program is not None else None
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _write_safetensors(
    network: FromPixels, images: Tensor, metadata: dict[str, str], path: Path
) -> Tensor:
    require_packages("safetensors", extra="export")
    safetensors: Any = importlib.import_module("safetensors.torch")
    weights = {name: value.contiguous() for name, value in network.network.state_dict().items()}
    path.write_bytes(safetensors.save(weights, metadata))
    network.network.load_state_dict(safetensors.load_file(path))
    with torch.inference_mode():
        found: Tensor = network(images)
    return found
