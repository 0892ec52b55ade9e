"""Test and measure the core on a GPU, in ten minutes at most: `make gpu`.

    python benchmarks/gpu.py                           # every part, until the time is over
    python benchmarks/gpu.py at_once_16_mps bench_32   # these, in this order
    python benchmarks/gpu.py --tiny                    # every part, at a size that a CPU can try

Each part is a process with a time limit of its own, and its failure does not keep the others from
running. The folder of `--output` gets two files, written anew after each part: `gpu.json` with all
outcomes and measurements, and `logs.tar.gz` with the whole log of each part.

NOTES.md beside this file has the command for a machine without a network.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

FOLDER = Path(__file__).parent
TESTS = FOLDER.parent / "tests" / "training" / "test_cuda.py"
MPS_CONTROL = "nvidia-cuda-mps-control"
"""The program that starts and ends NVIDIA's Multi-Process Service."""
DRIVER_PROGRAMS = "/usr/local/nvidia/bin"
"""Where container runtimes put the driver's programs; not always in PATH."""
FIRST_CLIENT = (sys.executable, "-c", "import torch; torch.zeros(1, device='cuda').item()")
"""Uses the device, and ends."""
TINY = ("model=vgg_a", "dataset.image_size=32", "trainer.batch_size=8", "trainer.precision=fp32")
"""Overrides of `--tiny`."""


@dataclass(frozen=True)
class Part:
    """One process of `make gpu`."""

    name: str
    command: list[str]
    """Without the option `--output`, where the part has one."""
    limit: float
    """Seconds after which it is stopped."""
    has_result: bool = True
    """Whether it takes `--output` with a JSON file."""
    with_mps: bool = False
    """Whether NVIDIA's Multi-Process Service runs beside it, which lets the kernels of several
    processes overlap."""


def bench(
    name: str,
    channels: int,
    *options: str,
    tiny: bool,
    limit: float,
    images: int = 25_600,
    with_mps: bool = False,
) -> Part:
    command = [sys.executable, "-m", "augean", "bench", *(TINY if tiny else ())]
    width = 2 if tiny else channels
    command += ["--channels", str(width), "--repeats", "1", *options]
    command += ["--images", str(32 if tiny else images)]
    return Part(name, command, limit, with_mps=with_mps)


def profile(name: str, channels: int, *overrides: str, tiny: bool, limit: float) -> Part:
    command = [sys.executable, str(FOLDER / "profile_step.py"), *(TINY if tiny else ())]
    command += [f"width.channels={2 if tiny else channels}", *overrides]
    if tiny:
        command += ["--steps", "2", "--images", "32"]
    return Part(name, command, limit)


def list_parts(tiny: bool) -> list[Part]:
    """Return the parts in order of worth; for the last ones ten minutes may be too short.

    What decides the default of `runtime.fused_norm`, and what has never run on a GPU, comes before
    what repeats a measurement.
    """
    pytest = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-W", "default", "-n", "4"]
    parts = [
        Part("facts", ["nvidia-smi"], limit=10, has_result=False),
        Part("tests", [*pytest, str(TESTS)], limit=180, has_result=False),
        profile("profile_64", 64, tiny=tiny, limit=40),
        profile("profile_64_fused", 64, "runtime.fused_norm=true", tiny=tiny, limit=70),
        profile("profile_16", 16, tiny=tiny, limit=30),
        profile("profile_16_fused", 16, "runtime.fused_norm=true", tiny=tiny, limit=70),
        bench_loops(64, tiny),
        bench_loops(16, tiny),
        # Without the service, kernels of several processes hardly overlap: less is to be learnt.
        bench_at_once(16, tiny, with_mps=True),
        bench_at_once(16, tiny),
        bench_loops(32, tiny),
        profile("profile_64_compiled", 64, "runtime.compile=true", tiny=tiny, limit=80),
        bench("host_16", 16, "--loops", "core", "core+host", tiny=tiny, limit=60),
    ]
    if tiny:
        # A CPU with other work compiles for minutes.
        parts = [replace(part, limit=5 * part.limit) for part in parts]
    return parts


def bench_loops(channels: int, tiny: bool) -> Part:
    """Return the part that measures all loops at one width, so that ratios are of one run.

    The loops of a part share the compiler's caches: the core comes before the expert's loop, so
    that it finds them cold.
    """
    loops = ["core", "core+fused", "core+compile", "expert", "ordinary"]
    return bench(f"bench_{channels}", channels, "--loops", *loops, tiny=tiny, limit=180)


def bench_at_once(channels: int, tiny: bool, with_mps: bool = False) -> Part:
    """Return the part that measures one, four and eight processes on one device."""
    name = f"at_once_{channels}" + ("_mps" if with_mps else "")
    numbers = ["1", "2"] if tiny else ["1", "4", "8"]
    options = ["--loops", "core", "--at-once", *numbers]
    return bench(name, channels, *options, tiny=tiny, limit=90, images=12_800, with_mps=with_mps)


def run_part(part: Part, folder: Path, seconds_left: float) -> dict[str, Any]:
    """Run one part and return its outcome, the time it took and what it measured.

    Args:
        folder: gets its log and its result.
    """
    result_file = folder / f"{part.name}.json"
    log_file = folder / f"{part.name}.log"
    command = list(part.command)
    if part.has_result:
        command += ["--output", str(result_file)]
    start = time.perf_counter()
    limit = min(part.limit, seconds_left)
    with log_file.open("w") as log, TemporaryDirectory(ignore_cleanup_errors=True) as caches:
        # Caches of its own, so that no part finds what another has compiled.
        variables = {
            "TORCHINDUCTOR_CACHE_DIR": f"{caches}/inductor",
            "TRITON_CACHE_DIR": f"{caches}/triton",
        }
        if part.with_mps:
            outcome = run_with_mps(command, log, limit, variables)
        else:
            outcome = run_limited(command, log, limit, variables)
    result = None
    # A part that is stopped may leave half a file.
    with suppress(OSError, ValueError):
        result = json.loads(result_file.read_text())
    lines = log_file.read_text(errors="replace").splitlines()
    return {
        "outcome": outcome,
        "seconds": round(time.perf_counter() - start, 1),
        "command": " ".join(["python", *command[1:]] if command[0] == sys.executable else command),
        "result": result,
        "end_of_log": lines[-40:],
    }


def run_limited(
    command: Sequence[str], log: TextIO, limit: float, variables: Mapping[str, str]
) -> str:
    """Run a command, stop it with all its children after `limit` seconds, and say how it ended.

    Args:
        variables: of the environment, beside those of this process.
    """
    if shutil.which(command[0]) is None:
        return f"not run: {command[0]} is not there"
    if limit <= 0:
        return "not run: no time was left"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    try:
        code = process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        stop(process)
        return f"stopped after {limit:.0f} s"
    except BaseException:
        # In a session of its own it would live on, and share the device with what follows.
        stop(process)
        raise
    return "done" if code == 0 else f"failed with exit code {code}"


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its children; it is the first of its group, which they belong to."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # A process that hangs in the driver cannot even be killed.
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)


def run_with_mps(
    command: Sequence[str], log: TextIO, limit: float, variables: Mapping[str, str]
) -> str:
    """Run a command as `run_limited` does, with NVIDIA's Multi-Process Service beside it.

    Where that fails, the service's own logs go to `log` too.
    """
    if find_mps_control() is None:
        return f"not run: {MPS_CONTROL} is not there"
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Folders of its own: it is found by this part alone, and nobody else's is ended.
        mps_variables = {
            "CUDA_MPS_PIPE_DIRECTORY": folder,
            "CUDA_MPS_LOG_DIRECTORY": folder,
            "PATH": path_with_driver(),
        }
        if control_mps(log, mps_variables, "-d"):
            try:
                # Where a client hangs, this costs less than the whole part.
                outcome = run_limited(FIRST_CLIENT, log, 25, mps_variables)
                if outcome == "done":
                    outcome = run_limited(command, log, limit, {**variables, **mps_variables})
                else:
                    outcome = f"not run: a first client of the service {outcome}"
            finally:
                control_mps(log, mps_variables, request="quit -t 5\n")
        else:
            outcome = f"not run: {MPS_CONTROL} does not start"
        if outcome != "done":
            append_mps_logs(log, Path(folder))
    return outcome


def path_with_driver() -> str:
    """Return PATH with the folder of the driver's programs."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), DRIVER_PROGRAMS])


def find_mps_control() -> str | None:
    """Return the service's control program; None where it is not installed."""
    return shutil.which(MPS_CONTROL, path=path_with_driver())


def control_mps(
    log: TextIO, variables: Mapping[str, str], *arguments: str, request: str | None = None
) -> bool:
    """Call the service's control program; return whether it ended well within 20 seconds."""
    program = find_mps_control()
    assert program is not None  # as the caller has seen
    try:
        process = subprocess.run(
            [program, *arguments],
            input=request,
            text=True,
            stdout=log,
            stderr=log,
            env={**os.environ, **variables},
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"{program}: {error}", file=log, flush=True)
        return False
    return process.returncode == 0


def append_mps_logs(log: TextIO, folder: Path) -> None:
    """Append what the service wrote in its folder to a part's log."""
    for name in ("control.log", "server.log"):
        text = "it was not written"
        with suppress(OSError):
            text = (folder / name).read_text(errors="replace")
        print(f"-- {name} of the Multi-Process Service:\n{text}", file=log, flush=True)


def write_outcomes(outcomes: Mapping[str, Any], folder: Path, output: Path) -> None:
    """Write the two files of `--output` from all outcomes so far and the folder of the logs."""
    (output / "gpu.json").write_text(json.dumps(outcomes, indent=1) + "\n")
    with tarfile.open(output / "logs.tar.gz", "w:gz") as archive:
        for log_file in sorted(folder.glob("*.log")):
            archive.add(log_file, arcname=log_file.name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="names of parts, in order (default: all)")
    parser.add_argument("--output", type=Path, default=Path("gpu"))
    parser.add_argument("--seconds", type=float, default=530, help="for all parts together")
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU can try")
    arguments = parser.parse_args()
    parts = list_parts(arguments.tiny)
    unknown = set(arguments.parts) - {part.name for part in parts}
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: the parts are {[part.name for part in parts]}")
    if arguments.parts:
        by_name = {part.name: part for part in parts}
        parts = [by_name[name] for name in arguments.parts]
    arguments.output.mkdir(parents=True, exist_ok=True)
    end = time.perf_counter() + arguments.seconds
    outcomes: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for part in parts:
            outcome = run_part(part, Path(folder), end - time.perf_counter())
            outcomes[part.name] = outcome
            print(f"== {part.name}: {outcome['outcome']}, {outcome['seconds']} s", flush=True)
            print("\n".join(outcome["end_of_log"][-16:]), flush=True)
            write_outcomes(outcomes, Path(folder), arguments.output)
    print()
    for name, outcome in outcomes.items():
        print(f"{name:<22}{outcome['seconds']:>7.1f} s  {outcome['outcome']}")


if __name__ == "__main__":
    # Stopped by its caller, it raises, so that `run_limited` ends its part too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
