"""`augean bench`: every loop runs as a process of its own, and the numbers fit together."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from augean.bench import summarize
from conftest import ROOT


def run_bench(output: Path, *loops: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "augean", "bench", "trainer.precision=fp32", "trainer.batch_size=32"]
    command += ["--channels", "4", "--images", "64", "--epochs", "2", "--repeats", "1", "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--loops", *loops], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written: dict[str, Any] = json.loads(output.read_text())
    assert all(loop in done.stdout for loop in loops)
    return written


def check(written: dict[str, Any], loops: list[str]) -> None:
    (one,) = written["measurements"]
    assert [line["loop"] for line in one["loops"]] == loops
    for line in one["loops"]:
        assert line["slowest"] <= line["images_per_second"] <= line["fastest"]
        assert 0 < line["first_step_seconds"] < line["wall_seconds"]
        share = one["gflop_per_step"] / 32 * line["images_per_second"] / (1e3 * one["matrix_tflops"])
        assert line["share_of_matrix_rate"] == pytest.approx(share)


def test_the_ordinary_loop_and_the_core_are_measured(tmp_path: Path) -> None:
    check(run_bench(tmp_path / "bench.json", "ordinary", "core"), ["ordinary", "core"])


@pytest.mark.slow
def test_every_loop_is_measured(tmp_path: Path) -> None:
    loops = ["ordinary", "expert", "core", "core+compile"]
    check(run_bench(tmp_path / "bench.json", *loops), loops)


def test_the_full_run_is_extrapolated_from_start_and_rate() -> None:
    # 10 s until the second epoch begins, of which 4 are steady work; then 1,000 images in 4 s: 250 a second.
    result = {"first_step_seconds": 7.0, "epoch_seconds": [8.0, 4.0, 4.0], "wall_seconds": 18.0, "peak_memory_mb": 1.0}
    line = summarize("core", [], [result], 1000, 2e9, 1e12)
    assert line.full_run_seconds == pytest.approx((18 - 8 - 4) + 35 * 50_000 / 250)
    assert line.share_of_matrix_rate == pytest.approx(0.5)
