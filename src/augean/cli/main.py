"""`augean <command>`: what trains is in `augean.hydra_main`, all other commands begin here."""

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from augean.errors import AugeanError
from augean.version import version

if TYPE_CHECKING:
    from augean.inference.load import TrainedModel


EXAMPLES = {
    "": (
        """
augean train model=resnet18 activation=elu                one run
augean train -m optimizer=sgd,adam seed=0,1,2             a grid
augean train -cn table1_activation experiment=demo        a sweep file, small
augean status                                             what is finished, what is missing
augean report                                             tables, figures and a page
"""
    ),
    "status": (
        """
augean status                                             all sweeps of ./outputs
augean status table1                                      those whose name begins so
augean status table3_width experiment=demo     before its launch: is it in order, how long?
"""
    ),
    "report": (
        """
augean report --outputs outputs                           outputs/report/index.html
augean report --select optimizer.name=sgd,adam            some of the runs
"""
    ),
    "submit": (
        """
augean submit table1_activation                the missing runs, as a SLURM job array
augean submit table1_activation runtime.launcher.partition=gpu runtime.launcher.minutes=60
"""
    ),
    "settle": (
        """
augean settle table1_activation --dry-run                 what is undecided, what it may cost
augean settle table1_activation --budget 2h               seeds for those rows, for two hours
augean settle table1_activation -- experiment=demo        the sweep's own overrides go last
"""
    ),
    "promote": (
        """
augean promote tune_final                                 writes conf/experiment/tuned.yaml
augean train experiment=tuned seed=7                      a run with the winner's values
"""
    ),
    "evaluate": (
        """
augean evaluate best:table1_activation         its run of best validation accuracy, on the test set
augean evaluate 3f2a --images photos           on photos/<class>/<image>, by the run of that id
"""
    ),
    "predict": (
        """
augean predict best:table1_activation cat.jpg dog.jpg     the three likeliest classes of each
"""
    ),
    "export": (
        """
augean export best:table1_activation --to onnx            <run directory's name>.onnx
"""
    ),
    "bench": (
        """
augean bench dataset=synthetic --channels 16 --images 256 on generated images
"""
    ),
}
EXIT_CODES = """
exit codes: 0 done; 1 a mistake that can be mended, or a run that failed; 2 wrong usage, or damaged
files that were passed over; 130 after Ctrl-C, 143 after SIGTERM, 138 after SIGUSR1 (the same
command goes on from the checkpoint)
"""


class Parser(argparse.ArgumentParser):
    """Answers a mistyped command or option with the one that was meant instead of a page of
    usage.
    """

    def __init__(self, **options: Any) -> None:
        command = options["prog"].partition(" ")[2]
        text = f"examples:{EXAMPLES.get(command, '')}{EXIT_CODES}".replace("\n", "\n  ")
        super().__init__(
            **options,
            epilog=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        from augean.suggestions import closest, did_you_mean

        wrong = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (\S+)", message)
        names = [name for item in self._actions for name in item.choices or ()]
        for parsers in (item.choices for item in self._actions if isinstance(item.choices, dict)):
            names += [
                option for parser in parsers.values() for option in parser._option_string_actions
            ]
        # An option of another command is no help.
        hint = (
            did_you_mean(
                [name for name in closest(wrong[1] or wrong[2], names) if name != wrong[2]]
            )
            if wrong
            else ""
        )
        self.exit(2, f"{self.prog}: {message}{hint}\n{self.prog} --help shows what there is\n")


def count(text: str) -> int:
    """A number of things, at least one; argparse names the option that another value was given
    to.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number, at least 1")
    return int(text)


def build_parser() -> Parser:
    parser = Parser(
        prog="augean",
        description="Ablation sweeps of image classifiers, from Hydra configs to tables.",
    )
    parser.add_argument("--version", action="version", version=f"augean {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    text = "train a run, a grid or a sweep file: the same as python train.py"
    commands.add_parser("train", help=text).add_argument(
        "overrides", nargs="*"
    ).completer = complete_overrides  # type: ignore[attr-defined]
    text = (
        "hand the missing runs of a sweep to SLURM: the same as augean train -cn <sweep>"
        " launcher=slurm"
    )
    command = commands.add_parser("submit", help=text, description=text)
    command.add_argument("sweep", help="name of a sweep file, such as table1_activation")
    command.add_argument(
        "overrides", nargs="*", help="as for augean train"
    ).completer = complete_overrides  # type: ignore[attr-defined]
    for name, text in (
        (
            "status",
            "runs of each sweep by their state; of one that was not launched yet: what it would do",
        ),
        ("report", "tables, figures and a page from an output directory"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--outputs",
            type=Path,
            default=Path("outputs"),
            help="output directory (default: outputs)",
        )
        if name == "status":
            command.add_argument(
                "sweep", nargs="?", help="only sweeps whose name begins with this; or a sweep file"
            )
            command.add_argument(
                "overrides", nargs="*", help="overrides of the sweep, as it was or will be launched"
            )
            command.add_argument(
                "-cd", "--config-dir", type=Path, help="folder of a sweep file of your own"
            )
        else:
            command.add_argument(
                "--select", help="only runs with these values, such as optimizer.name=sgd,adam"
            )
    text = (
        "add seeds to the undecided rows of a table until each is better, worse or equivalent to"
        " its baseline"
    )
    command = commands.add_parser(
        "settle", help=text, description=text + "; overrides of the sweep go last, after --"
    )
    command.add_argument("sweep", help="name of a sweep file, such as table1_activation")
    command.add_argument(
        "-cd", "--config-dir", type=Path, help="folder of a sweep file of your own"
    )
    command.add_argument(
        "--margin", type=float, help="percentage points that count as equivalent (default: 0.5)"
    )
    command.add_argument(
        "--least", type=count, help="seeds of a row at the first look (default: 3)"
    )
    command.add_argument(
        "--most", type=count, help="seeds after which a row stays undecided (default: 20)"
    )
    command.add_argument(
        "--budget", help="of this call, such as 30runs, 90min, 1.5h or 2gpuh (default: none)"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only say what is undecided and what it may cost"
    )
    command.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="output directory (default: outputs)"
    )
    text = "write the winner of a study as an experiment file"
    command = commands.add_parser("promote", help=text, description=text)
    command.add_argument("study", help="name of the study, such as tune_final")
    command.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="output directory (default: outputs)"
    )
    command.add_argument(
        "--to", type=Path, help="file to write (default: conf/experiment/tuned.yaml)"
    )
    for name, text in (
        (
            "evaluate",
            (
                "accuracy per class and calibration of a trained run, on its test set or on a"
                " folder of images"
            ),
        ),
        ("predict", "the likeliest classes of images, by a trained run"),
        (
            "export",
            "a trained run's network as ONNX or safetensors, checked against the network itself",
        ),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "run", help="beginning of a run's id, path of its directory, or best:<sweep>"
        )
        command.add_argument(
            "--outputs",
            type=Path,
            default=Path("outputs"),
            help="output directory (default: outputs)",
        )
        command.add_argument(
            "--data", default="data", help="folder of the data sets (default: data)"
        )
        command.add_argument(
            "--allow",
            nargs="+",
            default=[],
            metavar="PACKAGE",
            help="packages of own code to trust",
        )
        if name != "export":
            command.add_argument(
                "--device", default="auto", help="auto, cpu, cuda, cuda:<n> or mps (default: auto)"
            )
        if name == "evaluate":
            command.add_argument(
                "--images", type=Path, help="folder <class>/<image> (default: the run's test set)"
            )
            command.add_argument("--output", type=Path, help="JSON file for the result")
        elif name == "predict":
            command.add_argument("images", nargs="+", help="image files")
            command.add_argument(
                "--top", type=count, default=3, help="classes for each image (default: 3)"
            )
        else:
            command.set_defaults(device="cpu")
            command.add_argument(
                "--to", choices=("onnx", "safetensors"), required=True, help="format"
            )
            command.add_argument(
                "--output", type=Path, help="file (default: <run directory's name>.<format>)"
            )
    text = (
        "results to commit: the report's claims judged, tables, figures, and the archive that they"
        " come from"
    )
    command = commands.add_parser("results", help=text, description=text)
    command.add_argument(
        "source", type=Path, help="output directory, or an archive that augean pack made"
    )
    command.add_argument(
        "--to", type=Path, required=True, help="folder to write, such as results/reduced"
    )
    command.add_argument(
        "--fill", type=Path, nargs="*", default=[], help="documents with marked places to fill"
    )
    text = "the small files of all runs and records, without weights, as one archive"
    command = commands.add_parser("pack", help=text, description=text)
    command.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="output directory (default: outputs)"
    )
    command.add_argument(
        "--to", type=Path, default=Path("runs.tar.xz"), help="archive (default: runs.tar.xz)"
    )
    text = "merge an archive of runs made elsewhere into an output directory"
    command = commands.add_parser("unpack", help=text, description=text)
    command.add_argument("archive", type=Path, help="an archive that augean pack made")
    command.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="output directory (default: outputs)"
    )
    text = (
        "images per second of the training core beside other loops, and its share of the device's"
        " matrix rate"
    )
    command = commands.add_parser("bench", help=text, description=text)
    command.add_argument(
        "overrides", nargs="*", help="config overrides such as model=vgg_a trainer.precision=fp32"
    )
    command.add_argument(
        "--channels", type=count, nargs="+", default=[16, 64], help="widths (default: 16 64)"
    )
    command.add_argument(
        "--loops",
        nargs="+",
        default=["ordinary", "expert", "core"],
        choices=["ordinary", "expert", "core", "core+compile"],
        help="what to measure (default: ordinary expert core); ratios are to the first",
    )
    command.add_argument(
        "--images", type=count, default=1280, help="images of one epoch (default: 1280)"
    )
    command.add_argument(
        "--epochs",
        type=count,
        default=3,
        help="epochs of one process; the first is not counted (default: 3)",
    )
    command.add_argument(
        "--repeats", type=count, default=3, help="processes of each loop (default: 3)"
    )
    text = (
        "so many processes at a time, one line for each number, with their total rate (default: 1)"
    )
    command.add_argument("--at-once", type=count, nargs="+", default=[1], help=text)
    command.add_argument("--output", type=Path, help="JSON file for the result")
    return parser


def complete_overrides(prefix: str, **_: object) -> list[str]:
    """What Hydra would complete after `augean train`, in the shell of a user who has
    argcomplete.
    """
    command = [sys.executable, "-m", "augean", "train", "-sc", "query=bash"]
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("_ARGCOMPLETE")
    }
    environment["COMP_LINE"] = f"augean {prefix}"
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split()


def main() -> None:
    """The console entry point; exit code 1 and one message for what the user can mend."""
    sys.path.append(
        str(Path.cwd())
    )  # own code lies where one works; last, so that it hides nothing installed
    try:
        if sys.argv[1:2] == ["submit"] and sys.argv[2:] and not sys.argv[2].startswith("-"):
            sys.argv[1:3] = ["train", "launcher=slurm", "-cn", sys.argv[2]]
        if sys.argv[1:2] == ["train"]:
            # Hydra reads the rest of the command line itself, `augean train --help` included.
            from augean.hydra_main import main as train

            sys.argv = ["augean train", *sys.argv[2:]]
            return train()
        parser = build_parser()
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(parser)
        arguments, rest = parser.parse_known_args()
        arguments.rest = [item for item in rest if item != "--"]
        if any(item.startswith("-") or arguments.command != "settle" for item in arguments.rest):
            hint = "; it is of all sweeps, and --select <key>=<value> of some runs" * (
                arguments.command == "report"
            )
            parser.error(f"unrecognized arguments: {' '.join(arguments.rest)}{hint}")
        folder = vars(arguments).get("config_dir")
        if folder and not folder.is_dir():
            raise AugeanError(
                f"-cd {folder}: no such folder; name the one that holds your sweep files"
            )
        if arguments.command in ("evaluate", "predict", "export"):
            sys.exit(after_training(arguments))
        functions = (status, report, settle, promote, results, pack, unpack, bench)
        sys.exit(
            {function.__name__: function for function in functions}[arguments.command](arguments)
        )
    except ModuleNotFoundError as error:
        sys.exit(f"{error} in {sys.executable}: run `make setup`, then `source .venv/bin/activate`")
    except (AugeanError, OSError) as error:
        from augean.config.override_errors import explain_error
        from augean.terminal import exit_on_closed_pipe

        if isinstance(error, BrokenPipeError):
            exit_on_closed_pipe()
        sys.exit(explain_error(error, sys.argv[2:]) or str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def status(arguments: argparse.Namespace) -> int:
    """Print the state of each sweep's runs and what fills the gaps."""
    from augean.config.paths import sweeps_dir, yaml_names
    from augean.store.summary import RunState
    from augean.store.sweep_record import read_records
    from augean.suggestions import list_choices
    from augean.sweeps.slurm import describe_queue, queued
    from augean.terminal import coloured

    if (
        not arguments.sweep
        and not arguments.outputs.is_dir()
        and arguments.outputs != Path("outputs")
    ):
        raise AugeanError(
            f"--outputs {arguments.outputs}: no such folder; name the runs' own runtime.outputs"
        )
    found, problems = read_records(arguments.outputs)
    if arguments.sweep:
        names = [record.name for record in found]
        found = [
            record for record in found if record.was_asked_as(arguments.sweep, arguments.overrides)
        ]
        folder = arguments.config_dir or sweeps_dir()
        if not found and (folder / f"{arguments.sweep}.yaml").exists():
            from augean.sweeps.preview import preview

            print(
                *preview(
                    arguments.sweep, arguments.overrides, arguments.outputs, arguments.config_dir
                ),
                sep="\n",
            )
            return 0
        if not found:
            raise AugeanError(
                f"{arguments.sweep}: no sweep in {arguments.outputs}, and no sweep file in {folder}"
                f"{list_choices(arguments.sweep, [*names, *yaml_names(folder)], '')}"
            )
    if not found:
        print(f"No sweep was launched into {arguments.outputs} yet. For example: make demo")
    try:
        in_queue = queued(arguments.outputs)
    except AugeanError as error:
        print(error, file=sys.stderr)
        in_queue = {}
    for record in found:
        states = record.states(arguments.outputs)
        there = [state for state in RunState if states[state]]
        counts = [coloured(f"{states[state]} {state}", state) for state in there]
        going_on = not all(state.is_completed for state in there)
        if record.kind == "study":
            tried = Counter(job.state for job in record.trials)
            over = tried["complete"] + tried["pruned"]
            going_on |= over < (record.num_trials or 0)
            best = record.best_trial()
            score = f", best {best.score:.2%}" if best is not None else ""
            counts.insert(0, f"{over} of {record.num_trials} trials over{score}")
        print(f"{record.name} ({record.title}): {', '.join(counts)}")
        if going_on:
            if waiting := describe_queue(record, in_queue):
                print(f"  in SLURM's queue: {waiting}")
            print(f"  to go on: {record.command}")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 2 if problems else 0


def report(arguments: argparse.Namespace) -> int:
    """Write the report and print where it is."""
    from augean.report import make_report

    result = make_report(arguments.outputs, arguments.select)
    for problem in result.problems:
        print(f"{problem.path}: {problem.message}", file=sys.stderr)
    print(
        f"Report on {result.num_runs} runs, {len(result.sections)} tables:"
        f" {result.directory / 'index.html'}"
    )
    return result.exit_code


def settle(arguments: argparse.Namespace) -> int:
    """Spend seeds on the undecided rows of a table."""
    from augean.sweeps.settle import Settling

    asked = {
        key: getattr(arguments, key)
        for key in ("margin", "least", "most")
        if getattr(arguments, key) is not None
    }
    sweep = Settling(
        arguments.sweep,
        arguments.config_dir,
        arguments.outputs,
        arguments.rest,
        asked,
        arguments.budget,
    )
    return sweep.run(dry=arguments.dry_run)


def promote(arguments: argparse.Namespace) -> int:
    """Write a study's winner and say how to use it."""
    from augean.config.paths import config_dir
    from augean.sweeps.promote import promote as write

    groups = {path.name for path in config_dir().iterdir() if path.is_dir()}
    target = arguments.to or config_dir() / "experiment" / "tuned.yaml"
    path = write(arguments.outputs, arguments.study, groups, target)
    print(f"Written: {path}; use it with experiment={path.stem}")
    return 0


def results(arguments: argparse.Namespace) -> int:
    """Write a folder of results; exit code 2 where something had to be left out."""
    from augean.reproduction.results import build_results

    problems = build_results(arguments.source, arguments.to, arguments.fill)
    print(*problems, sep="\n", end="\n" * bool(problems), file=sys.stderr)
    print(f"Results: {arguments.to / 'README.md'}")
    return 2 if problems else 0


def pack(arguments: argparse.Namespace) -> int:
    """Write an archive of small files; exit code 2 where something had to be left out."""
    from augean.store.archive import pack as write

    problems = write(arguments.outputs, arguments.to)
    print(*problems, sep="\n", end="\n" * bool(problems), file=sys.stderr)
    print(f"Packed: {arguments.to}, {arguments.to.stat().st_size:,} bytes")
    return 2 if problems else 0


def unpack(arguments: argparse.Namespace) -> int:
    """Merge an archive and say what became of its runs."""
    from augean.store.archive import unpack as merge

    merged = merge(arguments.archive, arguments.outputs)
    print(*merged.remarks, sep="\n", end="\n" * bool(merged.remarks), file=sys.stderr)
    print(
        f"{arguments.outputs}: "
        + (", ".join(f"{n} runs {what}" for what, n in merged.runs.items()) or "no runs")
    )
    return 0


def bench(arguments: argparse.Namespace) -> int:
    """Measure the training core."""
    from augean.benchmark.measure import bench as measure

    if arguments.epochs < 2:
        raise AugeanError(f"--epochs {arguments.epochs}: at least 2, for the first is not counted")
    settings = [
        [*arguments.overrides, f"width.channels={channels}"] for channels in arguments.channels
    ]
    measure(
        settings,
        arguments.loops,
        images=arguments.images,
        epochs=arguments.epochs,
        repeats=arguments.repeats,
        at_once=arguments.at_once,
        output=arguments.output,
    )
    return 0


def after_training(arguments: argparse.Namespace) -> int:
    """Evaluate, predict with or export the network of a run."""
    from augean.inference.load import load_model, read_images
    from augean.store.find_run import find_run

    path = find_run(arguments.run, arguments.outputs)
    run = load_model(
        path, data=arguments.data, device=arguments.device, allowed_packages=arguments.allow
    )
    val = run.summary.val_accuracy
    print(
        f"Run {run.summary.id}: {path}" + (f" (validation {val:.2%})" if val is not None else ""),
        flush=True,
    )
    if arguments.command == "evaluate":
        evaluate(run, arguments.images, arguments.output)
    elif arguments.command == "predict":
        probabilities = run.score(read_images(run, arguments.images)).softmax(1)
        for image, row in zip(arguments.images, probabilities, strict=True):
            top = row.topk(min(arguments.top, len(run.classes)))
            found = zip(top.values.tolist(), top.indices.tolist(), strict=True)
            print(
                f"{image}: "
                + ", ".join(f"{run.classes[index]} {value:.1%}" for value, index in found)
            )
    else:
        from augean.inference.export import export

        target = arguments.output or Path(f"{path.resolve().name}.{arguments.to}")
        if target.suffix != f".{arguments.to}":
            raise AugeanError(f"--output {target}: the name must end in .{arguments.to}")
        difference = export(run, target)
        print(
            f"Written: {target}; its outputs differ from the network's by {difference:.1e} of the"
            " largest at most"
        )
    return 0


def evaluate(run: "TrainedModel", folder: Path | None, output: Path | None) -> None:
    """Print, and write as JSON, how good a network is on its test set or on a folder of images."""
    import json

    import torch

    from augean.inference.load import read_folder, read_test_set
    from augean.inference.metrics import NUM_BINS, measure
    from augean.store.files import write_atomic

    images, labels = read_folder(run, folder) if folder else read_test_set(run)
    result = measure(run.score(images), torch.from_numpy(labels), run.classes)
    place = folder or f"test set of {run.config.dataset.name}"
    print(
        f"{place}, {result['num_images']} images: accuracy {result['accuracy']:.2%}, loss"
        f" {result['loss']:.4f}"
    )
    print(
        f"mean confidence {result['mean_confidence']:.2%}, "
        f"expected calibration error {result['calibration_error']:.2%} ({NUM_BINS} bins)"
    )
    for name, row in result["classes"].items():
        print(f"  {name:<20} {row['accuracy']:>8.2%} of {row['num_images']}")
    if output:
        write_atomic(
            output,
            json.dumps({"run": run.summary.id, "images": str(place), **result}, indent=1) + "\n",
        )
