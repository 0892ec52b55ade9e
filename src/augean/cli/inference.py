"""`augean evaluate`, `predict` and `export`: use the network of a finished run."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augean.cli.parser import (
    Commands,
    Parser,
    add_command,
    add_outputs_option,
    check_output,
    path_argument,
    positive_number,
)
from augean.errors import AugeanError, DataError, DeviceError, UsageError
from augean.terminal import counted

if TYPE_CHECKING:
    from augean.inference.load import TrainedModel

EVALUATE_EXAMPLES = """
augean evaluate best:table1_activation         its run of best validation accuracy, on the test set
augean evaluate 3f2a --images photos           on photos/<class>/<image>, by the run of that id
"""
PREDICT_EXAMPLES = """
augean predict best:table1_activation cat.jpg dog.jpg     the three likeliest classes of each
"""
EXPORT_EXAMPLES = """
augean export best:table1_activation --to onnx            <run directory's name>.onnx
"""


def add_commands(commands: Commands) -> None:
    _add_evaluate(commands)
    _add_predict(commands)
    _add_export(commands)


def _add_evaluate(commands: Commands) -> None:
    parser = add_command(
        commands,
        "evaluate",
        run_evaluate,
        summary="accuracy per class and calibration of a trained run, on its test set or on a"
        " folder of images",
        examples=EVALUATE_EXAMPLES,
    )
    _add_run_arguments(parser)
    _add_device_option(parser)
    parser.add_argument(
        "--images", type=path_argument, help="folder <class>/<image> (default: the run's test set)"
    )
    parser.add_argument("--output", type=path_argument, help="JSON file for the result")


def _add_predict(commands: Commands) -> None:
    parser = add_command(
        commands,
        "predict",
        run_predict,
        summary="the likeliest classes of images, by a trained run",
        examples=PREDICT_EXAMPLES,
    )
    _add_run_arguments(parser)
    _add_device_option(parser)
    parser.add_argument("images", nargs="+", help="image files, or folders of them")
    parser.add_argument(
        "--top", type=positive_number, default=3, help="classes for each image (default: 3)"
    )


def _add_export(commands: Commands) -> None:
    parser = add_command(
        commands,
        "export",
        run_export,
        summary="a trained run's network as ONNX or safetensors, checked against the network"
        " itself",
        examples=EXPORT_EXAMPLES,
    )
    _add_run_arguments(parser)
    # The file and the network are compared on the CPU, in fp32.
    parser.set_defaults(device="cpu")
    parser.add_argument("--to", choices=("onnx", "safetensors"), required=True, help="format")
    parser.add_argument(
        "--output", type=path_argument, help="file (default: <run directory's name>.<format>)"
    )


def _add_run_arguments(parser: Parser) -> None:
    parser.add_argument(
        "run", help="beginning of a run's id, path of its directory, or best:<sweep>"
    )
    add_outputs_option(parser)
    parser.add_argument(
        "--data",
        help="folder of the data sets (default: data, or the one that the run was trained from)",
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package of own code to trust; several: --allow one --allow two",
    )


def _add_device_option(parser: Parser) -> None:
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:<n> or mps (default: auto)"
    )


def _load_run(arguments: argparse.Namespace) -> "TrainedModel":
    """Load the network of the run that the command names, and print which one it is."""
    from augean.config.validation import DEVICE_NAME
    from augean.inference.load import load_model
    from augean.store.find_run import find_run

    if not DEVICE_NAME.fullmatch(arguments.device):
        raise UsageError(f"--device {arguments.device}: must be auto, cpu, cuda, cuda:<n> or mps")
    path = find_run(arguments.run, arguments.outputs)
    with _keys_as_options():
        run = load_model(
            path, data=arguments.data, device=arguments.device, allowed_packages=arguments.allow
        )
    val_accuracy = run.summary.val_accuracy
    score = "" if val_accuracy is None else f" (validation {val_accuracy:.2%})"
    print(f"Run {run.summary.id}: {path}{score}", flush=True)
    return run


@contextmanager
def _keys_as_options() -> Iterator[None]:
    """Name the device and the folder of the data sets as these commands take them, by options."""
    try:
        yield
    except (DataError, DeviceError) as error:
        text = str(error).replace("runtime.data=", "--data ")
        text = text.replace("runtime.device=", "--device ")
        raise type(error)(text) from error


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Print how good a network is on its test set or on a folder of images; write it as JSON."""
    import json

    import torch

    from augean.config.schema import RuntimeConfig
    from augean.inference.images import read_folder, read_test_set
    from augean.inference.metrics import measure
    from augean.store.files import write_atomic

    check_output(arguments.output)
    run = _load_run(arguments)
    if arguments.images:
        place = str(arguments.images)
        images, labels = read_folder(run, arguments.images)
    else:
        place = f"test set of {run.config.dataset.name}"
        if arguments.data is None and run.config.runtime.data != RuntimeConfig().data:
            print(f"Data: {run.config.runtime.data}, as the run has it recorded", flush=True)
        with _keys_as_options():
            images, labels = read_test_set(run)
    result = measure(run.score(images), torch.from_numpy(labels), run.classes)
    _print_metrics(place, result)
    if arguments.output:
        content = {"run": run.summary.id, "images": place, **result}
        write_atomic(arguments.output, json.dumps(content, indent=1) + "\n")
    return 0


def _print_metrics(place: str, result: dict[str, Any]) -> None:
    """Print the measures of `augean.inference.metrics.measure`, then a line for each class."""
    from augean.inference.metrics import NUM_BINS

    print(
        f"{place}, {counted(result['num_images'], 'image')}: accuracy {result['accuracy']:.2%},"
        f" loss {result['loss']:.4f}"
    )
    print(
        f"mean confidence {result['mean_confidence']:.2%},"
        f" expected calibration error {result['calibration_error']:.2%} ({NUM_BINS} bins)"
    )
    for name, row in result["classes"].items():
        print(f"  {name:<20} {row['accuracy']:>8.2%} of {row['num_images']}")


def run_predict(arguments: argparse.Namespace) -> int:
    """Print the likeliest classes of each image."""
    from augean.inference.images import image_files, read_images

    files = image_files(arguments.images)
    run = _load_run(arguments)
    probabilities = run.score(read_images(run, files)).softmax(1)  # [N, classes]
    # --top may be larger than the number of classes.
    num_classes = min(arguments.top, len(run.classes))
    for image, row in zip(files, probabilities, strict=True):
        values, indices = row.topk(num_classes)
        answers = []
        for value, index in zip(values.tolist(), indices.tolist(), strict=True):
            answers.append(f"{run.classes[index]} {value:.1%}")
        print(f"{image}: {', '.join(answers)}")
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    """Write the network in another format."""
    from augean.inference.export import export

    run = _load_run(arguments)
    # The suffix of a file is what names its format, see `augean.inference.export`.
    suffix = f".{arguments.to}"
    target = arguments.output or Path(f"{run.path.resolve().name}{suffix}")
    if target.suffix != suffix:
        raise AugeanError(f"--output {target}: the name must end in {suffix}")
    difference = export(run, target)
    print(
        f"Written: {target}; its outputs differ from the network's by {difference:.1e} of the"
        " largest at most"
    )
    return 0
