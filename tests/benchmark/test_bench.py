"""`augean bench`: every loop runs as a process of its own, and the numbers fit together."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from augean.benchmark import ceilings, measure
from augean.benchmark.ceilings import matrix_rate
from augean.benchmark.entry import LoopResult
from augean.benchmark.measurement import summarize
from augean.benchmark.processes import run_loop
from augean.errors import AugeanError
from commands import augean


def run_bench(
    output: Path, *loops: str, channels: int = 4, at_once: Sequence[str] = ("1",)
) -> dict[str, Any]:
    done = augean(
        "bench", "trainer.precision=fp32", "trainer.batch_size=32", "--channels", str(channels),
        "--images", "64", "--epochs", "2", "--repeats", "1", "--output", str(output),
        "--at-once", *at_once, "--loops", *loops,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written: dict[str, Any] = json.loads(output.read_text())
    assert all(loop in done.stdout for loop in loops)
    return written


def test_the_core_is_measured_and_its_numbers_fit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small ones: what the machine can do at best is measured in the slow tests.
    monkeypatch.setitem(ceilings.MATRIX_SIZES, "cpu", 256)
    monkeypatch.setitem(ceilings.COPY_BYTES, "cpu", 2**20)
    check(run_bench(tmp_path / "bench.json", "core"), ["core"])


def test_a_loop_that_fails_leaves_what_was_measured_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ceilings.MATRIX_SIZES, "cpu", 256)
    monkeypatch.setitem(ceilings.COPY_BYTES, "cpu", 2**20)

    def fail_in_expert(loop: str, *_: Any) -> LoopResult:
        if loop == "expert":
            raise AugeanError("out of memory")
        return LoopResult(
            first_step_seconds=1.0, epoch_seconds=[1.0, 0.5], wall_seconds=2.5, peak_memory_mb=1.0
        )

    monkeypatch.setattr(measure, "run_loop", fail_in_expert)
    output = tmp_path / "bench.json"
    small = ["trainer.precision=fp32", "trainer.batch_size=32", "--channels", "4"]
    small += ["--images", "64", "--epochs", "2", "--repeats", "1"]
    done = augean("bench", *small, "--output", str(output), "--loops", "core", "expert")
    assert done.returncode == 1
    (entry,) = json.loads(output.read_text())["measurements"]
    assert [line["loop"] for line in entry["loops"]] == ["core"]


def test_an_earlier_measurement_is_not_written_over(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    output.write_text("hours of work")
    done = augean("bench", "--output", str(output))
    assert done.returncode == 1
    assert f"--output {output}: exists" in done.stderr
    assert output.read_text() == "hours of work"


@pytest.mark.slow
def test_runs_at_once_are_measured_by_their_total_rate(tmp_path: Path) -> None:
    written = run_bench(tmp_path / "bench.json", "core", at_once=("1", "2"))
    check(written, ["core", "core"])
    one, two = written["measurements"][0]["loops"]
    assert (one["at_once"], two["at_once"]) == (1, 2)
    assert two["peak_memory_mb"] > 1.5 * one["peak_memory_mb"]


SLOW_AND_FAST = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
try:
    (folder / "first").mkdir()
    seconds = 3
    time.sleep(0.5)
    (folder / "arrived").touch()
except FileExistsError:
    seconds = 1
print("waiting", flush=True)
sys.stdin.read()
assert (folder / "arrived").exists()
result = {"first_step_seconds": 1, "epoch_seconds": [9, seconds, 1], "wall_seconds": 9}
print(json.dumps({**result, "peak_memory_mb": 5}))
"""
"""A stand-in for a loop: the first of two processes arrives late and is the slow one; the other
waits for it."""


def test_those_at_once_wait_for_each_other_and_are_as_fast_as_the_slowest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "augean.benchmark.processes.command_of",
        lambda _: [sys.executable, "-c", SLOW_AND_FAST, str(tmp_path)],
    )
    result = run_loop("core", [], 100, 3, at_once=2)
    assert result.epoch_seconds == [9, 2, 2]
    assert result.peak_memory_mb == 10
    # Two networks on 100 images each, every 2 s; 35 epochs of 50,000 images of both take twice as
    # long as of one.
    line = summarize(
        "core", [], [result], images=100, flops_per_image=2e9, matrix_rate=1e12, at_once=2
    )
    assert line.images_per_second == pytest.approx(100)
    assert line.full_run_seconds == pytest.approx(35 * 50_000 / 100 + 1.5)


def check(written: dict[str, Any], loops: list[str]) -> None:
    (one,) = written["measurements"]
    assert [line["loop"] for line in one["loops"]] == loops
    for line in one["loops"]:
        assert line["slowest"] <= line["images_per_second"] <= line["fastest"]
        assert 0 < line["first_step_seconds"] < line["wall_seconds"]
        share = (
            one["gflop_per_step"] / 32 * line["images_per_second"] / (1e3 * one["matrix_tflops"])
        )
        assert line["share_of_matrix_rate"] == pytest.approx(share)


def test_a_ceiling_that_the_device_is_slow_at_takes_no_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = []

    def slow(action: Any, device: torch.device) -> float:
        sizes.append(action().shape[0])
        return float(sizes[-1] ** 3 * 1e-8)

    monkeypatch.setattr("augean.benchmark.ceilings.least_seconds", slow)
    assert matrix_rate(torch.device("cpu"), torch.float32) == pytest.approx(2e8)
    assert sizes == [192, 384]


def test_a_network_of_torchvision_is_measured_at_its_own_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ceilings.MATRIX_SIZES, "cpu", 256)
    monkeypatch.setitem(ceilings.COPY_BYTES, "cpu", 2**20)
    command = [
        "bench", "model=torchvision", "model.arguments.name=mobilenet_v3_small",
        "trainer.precision=fp32", "trainer.batch_size=16", "dataset.image_size=32",
    ]  # fmt: skip
    output = tmp_path / "bench.json"
    sizes = ["--images", "32", "--epochs", "2", "--repeats", "1", "--output", str(output)]
    done = augean(*command, *sizes, "--loops", "core", "core+host")
    assert done.returncode == 0, done.stderr
    (one,) = json.loads(output.read_text())["measurements"]
    assert (one["model"], one["channels"]) == ("mobilenet_v3_small", None)
    refused = augean(*command, "--channels", "8")
    assert refused.returncode == 1
    assert "--channels 8: the network has its own width" in refused.stderr


@pytest.mark.slow
def test_every_loop_is_measured(tmp_path: Path) -> None:
    loops = ["ordinary", "expert", "core", "core+compile"]
    # The expert loop has no way around the layout that corrupts the heap of CPUs below 16 channels.
    check(run_bench(tmp_path / "bench.json", *loops, channels=16), loops)


def test_the_full_run_is_extrapolated_from_start_and_rate() -> None:
    # 10 s until the second epoch begins, of which 4 are steady work; then 1,000 images in 4 s: 250
    # a second.
    result = LoopResult(
        first_step_seconds=7.0,
        epoch_seconds=[8.0, 4.0, 4.0],
        wall_seconds=18.0,
        peak_memory_mb=1.0,
    )
    line = summarize("core", [], [result], images=1000, flops_per_image=2e9, matrix_rate=1e12)
    assert line.full_run_seconds == pytest.approx((18 - 8 - 4) + 35 * 50_000 / 250)
    assert line.share_of_matrix_rate == pytest.approx(0.5)
