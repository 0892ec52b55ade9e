"""The wheel: it holds all that a run needs, and runs where there is no checkout; tab completion of
what it installs.
"""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, TINY

TIMEOUT_SECONDS = 240


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy of what git tracks, as anyone's checkout is; without isolation, as that would
    # download the backend.
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, files.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run(
        [*command, f"--wheel-dir={folder}", str(source)], check=True, timeout=TIMEOUT_SECONDS
    )
    return next(folder.glob("augean-*.whl"))


def test_the_wheel_holds_code_configs_sweeps_licence_and_nothing_of_the_developers(
    wheel: Path,
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    for folder, target in (
        ("conf", "augean/conf"),
        ("sweeps", "augean/sweeps"),
        ("src/augean", "augean"),
    ):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"{target}/{path.relative_to(ROOT / folder)}" in names
    assert "augean/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"augean"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    for line in (
        "License-Expression: MIT",
        "Requires-Python: >=3.11",
        "Author: The Augean authors",
        "# Augean",
    ):
        assert line in metadata


def test_an_installed_wheel_runs_a_packaged_sweep_without_a_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        f"--target={site}",
    ]
    subprocess.run([*command, str(wheel)], check=True, timeout=TIMEOUT_SECONDS)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def ask(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "augean", *words]
        return subprocess.run(
            command,
            cwd=here,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )

    code = "import augean; print(augean.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code], cwd=here, env=environment, capture_output=True, text=True
    )
    assert Path(where.stdout.strip()).is_relative_to(site)

    small = [*TINY, "seed=0", "activation=leaky_relu", "trainer.epochs=1"]
    done = ask("train", "-cn", "table1_activation", *small)
    assert done.returncode == 0, done.stderr
    assert "1 finished" in done.stdout
    assert len(list((here / "outputs" / "runs").iterdir())) == 1
    assert "1 finished" in ask("status", "table1").stdout
    wrong = ask("train", "-cn", "table1")
    assert "did you mean -cn table1_activation?" in wrong.stderr
    assert sorted(path.name for path in here.iterdir()) == ["outputs"]

    # What is promoted lies with the user: the package's next version would replace its own folder.
    study = ask("train", "-cn", "tune_sgd", *TINY, "hydra.sweeper.n_trials=1")
    assert study.returncode == 0, study.stderr
    promoted = ask("promote", "tune_sgd")
    use = "Written: conf/experiment/tuned.yaml; use it with -cd conf experiment=tuned"
    assert promoted.stdout.strip() == use
    again = ask("train", "-cd", "conf", "experiment=tuned")
    assert "already finished" in again.stdout, again.stderr


def test_own_sweep_files_come_before_packaged_ones(tmp_path: Path) -> None:
    (tmp_path / "final.yaml").write_text("defaults: [config, _self_]\nseed: 1234\n")
    command = [
        sys.executable,
        str(ROOT / "train.py"),
        "-cd",
        str(tmp_path),
        "-cn",
        "final",
        "--cfg",
        "job",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert "seed: 1234" in done.stdout


def complete(line: str) -> set[str]:
    """What a shell offers for a command line of `augean`, by argcomplete's protocol."""
    read, write = os.pipe()
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": f"/dev/fd/{write}",
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "63",
    }
    code = "from augean.cli.main import main; main()"
    command = [sys.executable, "-c", code]
    subprocess.run(
        command, env=environment, pass_fds=[write], capture_output=True, timeout=TIMEOUT_SECONDS
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        return {word.strip() for word in pipe.read().splitlines()}


def test_tab_completes_commands_options_and_config_options() -> None:
    assert complete("augean st") == {"status"}
    assert "--select" in complete("augean report --")
    assert complete("augean train optimizer=ada") == {
        "optimizer=adagrad",
        "optimizer=adam",
        "optimizer=adamw",
    }


def test_tab_completes_the_options_of_train_py() -> None:
    # As Hydra's own function does in bash, which looks for this text first.
    assert "@hydra.main" in (ROOT / "train.py").read_text()
    line = "python train.py activation=s"
    command = [sys.executable, "train.py", "-sc", "query=bash"]
    environment = {**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    assert done.stdout.split() == ["activation=silu"]


def test_the_oldest_torch_that_is_allowed_has_a_job_of_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (oldest,) = workflow["jobs"]["test"]["strategy"]["matrix"]["include"]
    wanted = [
        requirement.replace(">=", "==") + ".*"
        for requirement in project["dependencies"]
        if requirement.startswith("torch")
    ]
    assert oldest["torch"].split() == wanted
