"""Test and measure the core on a GPU, in ten minutes at most: `make gpu`.

    python benchmarks/gpu.py                    # every part
    python benchmarks/gpu.py tests profile_64   # some
    python benchmarks/gpu.py --tiny             # every part, at a size that a CPU can try

Each part is a process with a time limit of its own, and its failure does not keep the others from
running. The folder of `--output` gets a log of each part, what it measured, and `gpu.json`, all of
it together; that file is written anew after each part.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

FOLDER = Path(__file__).parent
TESTS = FOLDER.parent / "tests" / "training" / "test_cuda.py"
MPS_CONTROL = "nvidia-cuda-mps-control"
"""The program that starts and ends NVIDIA's Multi-Process Service."""
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
    images: int = 12_800,
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

    Each loop is a part of its own, so that a slow one does not take the others along.
    """
    pytest = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-W", "default", "-n", "4"]
    parts = [
        Part("facts", ["nvidia-smi"], limit=10, has_result=False),
        Part("tests", [*pytest, str(TESTS)], limit=180, has_result=False),
        profile("profile_64", 64, tiny=tiny, limit=40),
        profile("profile_64_fused", 64, "runtime.fused_norm=true", tiny=tiny, limit=70),
        profile("profile_64_compiled", 64, "runtime.compile=true", tiny=tiny, limit=80),
        profile("profile_16", 16, tiny=tiny, limit=30),
        profile("profile_16_fused", 16, "runtime.fused_norm=true", tiny=tiny, limit=70),
    ]
    loops = ["core", "core+fused", "expert", "ordinary", "core+compile", "core+host"]
    parts += [bench_loop(64, loop, tiny) for loop in loops]
    for channels in (16, 32):
        parts += [bench_loop(channels, loop, tiny) for loop in loops[:2]]
        parts += bench_at_once(channels, tiny)
    for channels in (16, 32):
        parts += [bench_loop(channels, loop, tiny) for loop in loops[2:]]
    return parts


def bench_loop(channels: int, loop: str, tiny: bool) -> Part:
    name = f"bench_{channels}_{loop.replace('+', '_')}"
    # The ordinary loop decodes its images one by one on the host.
    images = 12_800 if loop == "ordinary" else 25_600
    return bench(name, channels, "--loops", loop, tiny=tiny, limit=70, images=images)


def bench_at_once(channels: int, tiny: bool) -> list[Part]:
    """Return the parts that measure several processes on one device, with MPS and without."""
    parts = []
    for with_mps in (False, True):
        for number in (2, 4, 8):
            name = f"at_once_{channels}_{number}" + ("_mps" if with_mps else "")
            options = ["--loops", "core", "--at-once", str(2 if tiny else number)]
            part = bench(name, channels, *options, tiny=tiny, limit=80, with_mps=with_mps)
            parts.append(part)
    return parts


def run_part(part: Part, output: Path, seconds_left: float) -> dict[str, Any]:
    """Run one part and return its outcome, the time it took and what it measured."""
    result_file = output / f"{part.name}.json"
    result_file.unlink(missing_ok=True)
    command = list(part.command)
    if part.has_result:
        command += ["--output", str(result_file)]
    start = time.perf_counter()
    log_file = output / f"{part.name}.log"
    limit = min(part.limit, seconds_left)
    with log_file.open("w") as log, TemporaryDirectory(ignore_cleanup_errors=True) as caches:
        # Caches of its own, so that no part finds what another has compiled.
        variables = {
            "TORCHINDUCTOR_CACHE_DIR": f"{caches}/inductor",
            "TRITON_CACHE_DIR": f"{caches}/triton",
        }
        if not part.with_mps:
            outcome = run_limited(command, log, limit, variables)
        else:
            with multi_process_service(log) as mps_variables:
                if mps_variables is None:
                    outcome = f"not run: {MPS_CONTROL} is not there or does not start"
                else:
                    outcome = run_limited(command, log, limit, variables | mps_variables)
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
    command: Sequence[str], log: Any, limit: float, variables: Mapping[str, str]
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
        # The process is the first of its group, which its children belong to.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # A process that hangs in the driver cannot even be killed.
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        return f"stopped after {limit:.0f} s"
    return "done" if code == 0 else f"failed with exit code {code}"


@contextmanager
def multi_process_service(log: Any) -> Iterator[dict[str, str] | None]:
    """Run NVIDIA's Multi-Process Service.

    Yields:
        The variables with which a process finds it; None where it cannot be started.
    """
    if shutil.which(MPS_CONTROL) is None:
        yield None
        return
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Folders of its own: it is found by this part alone, and nobody else's is ended.
        variables = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        if not control_mps(log, variables, "-d"):
            yield None
            return
        try:
            yield variables
        finally:
            control_mps(log, variables, request="quit -t 5\n")


def control_mps(
    log: Any, variables: Mapping[str, str], *arguments: str, request: str | None = None
) -> bool:
    """Call the service's control program; return whether it ended well within 20 seconds."""
    try:
        process = subprocess.run(
            [MPS_CONTROL, *arguments],
            input=request,
            text=True,
            stdout=log,
            stderr=log,
            env={**os.environ, **variables},
            timeout=20,
        )
    except subprocess.TimeoutExpired:
        return False
    return process.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="names of parts (default: all)")
    parser.add_argument("--output", type=Path, default=Path("gpu"))
    parser.add_argument("--seconds", type=float, default=570, help="for all parts together")
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU can try")
    arguments = parser.parse_args()
    parts = list_parts(arguments.tiny)
    unknown = set(arguments.parts) - {part.name for part in parts}
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: the parts are {[part.name for part in parts]}")
    if arguments.parts:
        parts = [part for part in parts if part.name in arguments.parts]
    arguments.output.mkdir(parents=True, exist_ok=True)
    end = time.perf_counter() + arguments.seconds
    outcomes: dict[str, Any] = {}
    for part in parts:
        outcome = run_part(part, arguments.output, end - time.perf_counter())
        outcomes[part.name] = outcome
        print(f"== {part.name}: {outcome['outcome']}, {outcome['seconds']} s", flush=True)
        print("\n".join(outcome["end_of_log"][-16:]), flush=True)
        (arguments.output / "gpu.json").write_text(json.dumps(outcomes, indent=1) + "\n")
    print()
    for name, outcome in outcomes.items():
        print(f"{name:<22}{outcome['seconds']:>7.1f} s  {outcome['outcome']}")


if __name__ == "__main__":
    main()
