"""`make gpu`: parts are bounded and independent, and two files have all that they gave.

No GPU is needed: parts are small processes, and a script stands in for NVIDIA's service.
"""

import importlib.util
import json
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conftest import ROOT
from waiting import wait_for

SERVICE = """#!/bin/sh
echo "control $@" >> "$CUDA_MPS_LOG_DIRECTORY/control.log"
echo "server of the test" >> "$CUDA_MPS_LOG_DIRECTORY/server.log"
exit {code}
"""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    monkeypatch.setitem(sys.modules, "gpu", module)
    spec.loader.exec_module(module)
    return module


def run_main(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, output: Path, *arguments: str
) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(output), *arguments])
    gpu.main()
    outcomes: dict[str, Any] = json.loads((output / "gpu.json").read_text())
    return outcomes


def python(gpu: ModuleType, name: str, code: str, **options: Any) -> Any:
    """A part that runs a line of Python."""
    command = [sys.executable, "-c", code]
    return gpu.Part(name, command, **{"limit": 20, "has_result": False, **options})


def use_parts(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, parts: Sequence[Any]) -> None:
    monkeypatch.setattr(gpu, "list_parts", lambda tiny: list(parts))


def install_service(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path, code: int
) -> None:
    """Install a stand-in that ends with an exit code, where PATH does not lead."""
    folder.mkdir()
    program = folder / gpu.MPS_CONTROL
    program.write_text(SERVICE.format(code=code))
    program.chmod(0o755)
    monkeypatch.setattr(gpu, "DRIVER_PROGRAMS", str(folder))
    monkeypatch.setattr(gpu, "FIRST_CLIENT", (sys.executable, "-c", ""))


def test_two_files_have_outcomes_results_and_logs_of_all_parts(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write = "import pathlib, sys; pathlib.Path(sys.argv[2]).write_text('[7]')"
    parts = [
        python(gpu, "fails", "print('why'); raise SystemExit(3)"),
        python(gpu, "hangs", "import time; print('begun', flush=True); time.sleep(60)", limit=2),
        python(gpu, "measures", write, has_result=True),
        gpu.Part("missing", ["no-such-program"], limit=20, has_result=False),
    ]
    use_parts(gpu, monkeypatch, parts)
    output = tmp_path / "out"
    outcomes = run_main(gpu, monkeypatch, output)
    assert {name: outcome["outcome"] for name, outcome in outcomes.items()} == {
        "fails": "failed with exit code 3",
        "hangs": "stopped after 2 s",
        "measures": "done",
        "missing": "not run: no-such-program is not there",
    }
    assert outcomes["fails"]["end_of_log"] == ["why"]
    assert outcomes["measures"]["result"] == [7]
    assert sorted(path.name for path in output.iterdir()) == ["gpu.json", "logs.tar.gz"]
    with tarfile.open(output / "logs.tar.gz") as archive:
        assert archive.getnames() == sorted(f"{part.name}.log" for part in parts)
        log = archive.extractfile("hangs.log")
        assert log is not None
        assert log.read() == b"begun\n"


def test_chosen_parts_run_in_the_order_of_their_names(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_parts(gpu, monkeypatch, [python(gpu, name, "") for name in ("one", "two", "three")])
    assert list(run_main(gpu, monkeypatch, tmp_path, "three", "one")) == ["three", "one"]
    with pytest.raises(SystemExit):
        run_main(gpu, monkeypatch, tmp_path, "four")


def test_without_time_left_a_part_is_named_as_not_run(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_parts(gpu, monkeypatch, [python(gpu, "late", "")])
    outcomes = run_main(gpu, monkeypatch, tmp_path, "--seconds", "0")
    assert outcomes["late"]["outcome"] == "not run: no time was left"


def test_the_service_is_found_beside_the_driver_and_ended_after_the_part(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_service(gpu, monkeypatch, tmp_path / "bin", code=0)
    code = (
        "import os, shutil; folder = os.environ['CUDA_MPS_PIPE_DIRECTORY'];"
        f"print(os.listdir(folder), shutil.which('{gpu.MPS_CONTROL}'))"
    )
    use_parts(gpu, monkeypatch, [python(gpu, "part", code, with_mps=True)])
    outcome = run_main(gpu, monkeypatch, tmp_path / "out")["part"]
    assert outcome["outcome"] == "done"
    # The log has the part's own line alone.
    [line] = outcome["end_of_log"]
    assert "control.log" in line
    assert str(tmp_path / "bin") in line


@pytest.mark.parametrize(("exit_code", "outcome"), [(1, "does not start"), (0, "exit code 5")])
def test_where_a_part_with_the_service_fails_its_log_has_those_of_the_service(
    gpu: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    exit_code: int,
    outcome: str,
) -> None:
    install_service(gpu, monkeypatch, tmp_path / "bin", code=exit_code)
    use_parts(gpu, monkeypatch, [python(gpu, "part", "raise SystemExit(5)", with_mps=True)])
    part = run_main(gpu, monkeypatch, tmp_path / "out")["part"]
    assert outcome in part["outcome"]
    log = "\n".join(part["end_of_log"])
    assert "control -d" in log
    assert "server of the test" in log


def test_a_first_client_that_fails_spares_the_part(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install_service(gpu, monkeypatch, tmp_path / "bin", code=0)
    monkeypatch.setattr(gpu, "FIRST_CLIENT", (sys.executable, "-c", "raise SystemExit(7)"))
    use_parts(gpu, monkeypatch, [python(gpu, "part", "", with_mps=True)])
    outcome = run_main(gpu, monkeypatch, tmp_path / "out")["part"]["outcome"]
    assert outcome == "not run: a first client of the service failed with exit code 7"


def test_a_part_ends_with_the_program_that_started_it(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    hangs = f"import os, pathlib, time; pathlib.Path({str(begun)!r}).write_text(str(os.getpid()))"
    use_parts(gpu, monkeypatch, [python(gpu, "hangs", f"{hangs}; time.sleep(60)")])
    real_wait = subprocess.Popen.wait

    def interrupt(process: "subprocess.Popen[bytes]", timeout: float | None = None) -> int:
        wait_for(lambda: begun.exists() and begun.read_text() != "")
        monkeypatch.setattr(subprocess.Popen, "wait", real_wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_main(gpu, monkeypatch, tmp_path / "out")
    assert not Path(f"/proc/{begun.read_text()}").exists()


def test_without_the_service_its_parts_are_named_as_not_run(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "MPS_CONTROL", "no-such-service")
    use_parts(gpu, monkeypatch, [python(gpu, "part", "", with_mps=True)])
    outcome = run_main(gpu, monkeypatch, tmp_path)["part"]["outcome"]
    assert outcome == "not run: no-such-service is not there"


def test_ratios_between_loops_are_of_one_part_at_each_width(gpu: ModuleType) -> None:
    commands = {part.name: part.command for part in gpu.list_parts(tiny=False)}
    for width in (16, 32, 64):
        command = commands[f"bench_{width}"]
        assert {"core", "core+fused", "core+compile", "expert", "ordinary"} <= set(command)
    assert list(commands)[1] == "tests"


@pytest.mark.slow
def test_every_part_runs_at_a_size_that_a_cpu_can_try(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured = [part.name for part in gpu.list_parts(tiny=True) if part.has_result]
    names = [name for name in measured if not name.endswith("_mps")]
    outcomes = run_main(gpu, monkeypatch, tmp_path, "--tiny", "--seconds", "2000", *names)
    assert {name: outcome["outcome"] for name, outcome in outcomes.items()} == dict.fromkeys(
        names, "done"
    )
    assert all(outcome["result"] for outcome in outcomes.values())
