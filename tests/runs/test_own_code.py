"""Code from outside: a package beside the command brings a model, a data set, config files and a
sweep.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import commands
from augean.config.code_digest import module_code
from augean.config.compose import compose
from augean.errors import ConfigError
from conftest import ROOT, TINY
from page_data import page_commands

EXAMPLE = ROOT / "examples" / "patches"


def augean(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command as a user does in `folder`, whose package is on no path."""
    code = textwrap.dedent("""
        import sys
        from augean.cli.main import main

        sys.path.remove("")
        sys.argv[0] = "augean"
        main()
    """)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_example_package_makes_its_own_table(tmp_path: Path) -> None:
    folder = tmp_path / "patches"
    shutil.copytree(
        EXAMPLE, folder, ignore=shutil.ignore_patterns("outputs", "data", "__pycache__")
    )
    small = ["trainer.epochs=1", "dataset.num_train=128"]
    sweep = ["train", "-cd", "conf", "-cn", "depth", "seed=0", *small]
    done = augean(folder, *sweep)
    assert done.returncode == 0, done.stderr
    assert "3 finished" in done.stdout
    (record,) = (
        json.loads(path.read_text()) for path in (folder / "outputs" / "sweeps").glob("depth*.json")
    )
    assert [job["row"] for job in record["jobs"]] == ["1", "2", "3"]
    assert record["command"].startswith("augean train -cd conf -cn depth")

    done = commands.augean("report", cwd=folder)
    assert done.returncode == 0, done.stderr
    table = (folder / "outputs" / "report" / "tables" / f"{record['name']}.md").read_text()
    assert "Data: patches (128 + 300" in table

    # A run of the page is trained again by its own command, which finds it finished.
    command = list(page_commands(folder / "outputs" / "report").values())[-1]
    words = [word.replace("$PWD", str(folder)) for word in shlex.split(command)]
    done = augean(folder, *words[1:])
    assert "already finished, not trained again" in done.stdout, done.stdout + done.stderr

    # An edit of the network's code makes other runs of the same command, whose table then holds
    # those. Until then the old ones are outdated.
    net = folder / "patches" / "net.py"
    net.write_text(net.read_text().replace("padding=1, groups", "padding=1, bias=False, groups"))
    done = augean(folder, "status")
    assert "3 outdated: patches/net.py has changed since" in done.stdout
    assert f"to train them anew: {record['command']}" in done.stdout
    done = augean(folder, "status", "-cd", "conf", "depth", "seed=0,1", *small)
    assert "6 runs: 6 missing" in done.stdout, done.stdout + done.stderr
    assert "3 of the missing runs were trained before, but patches/net.py has changed since" in (
        done.stdout
    )
    commands.augean("report", cwd=folder)
    table = (folder / "outputs" / "report" / "tables" / f"{record['name']}.md").read_text()
    assert "patches/net.py has changed since all 3 runs were trained" in table
    done = augean(folder, *sweep, "model.arguments.depth=1,2")
    assert "2 runs, 0 of them there already" in done.stdout, done.stdout + done.stderr

    # Without a file of one's own: the groups alone.
    plain = [
        "dataset=patches",
        "model=patchnet",
        "activation=mish",
        "width=w8",
        *small,
        "trainer.precision=fp32",
    ]
    done = augean(folder, "train", "-cd", "conf", *plain, "runtime.allowed_packages=[patches]")
    assert done.returncode == 0, done.stderr
    assert "patches-patchnet-mish-sgd-c8-s0-" in done.stdout


def test_a_fault_of_own_code_shows_its_place_in_a_sweep_too(tmp_path: Path) -> None:
    (tmp_path / "faulty.py").write_text(
        textwrap.dedent("""\
            from augean.datasets.synthetic import Synthetic

            class Faulty(Synthetic):
                def digest(self):
                    first, second = (1, 2, 3)
                    return ""
        """)
    )
    words = ["dataset=synthetic", "dataset._target_=faulty.Faulty", *TINY[1:]]
    words.append("runtime.allowed_packages=[faulty]")
    sweep = augean(tmp_path, "train", "-m", "seed=0,1", *words)
    preview = augean(tmp_path, "status", "-m", "seed=0,1", *words)
    for done in (augean(tmp_path, "train", *words), sweep, preview):
        assert done.returncode == 1
        assert 'faulty.py", line 5, in digest' in done.stderr
        assert done.stderr.strip().endswith("too many values to unpack (expected 2)")


def test_allowed_packages_come_beside_those_of_augean() -> None:
    config = compose(["runtime.allowed_packages=[patches]", "model._target_=patches.net.PatchNet"])
    assert config.optimizer._target_ == "torch.optim.SGD"
    with pytest.raises(
        ConfigError, match="only classes of torch, torchvision, augean, patches are allowed"
    ):
        compose(["runtime.allowed_packages=[patches]", "model._target_=os.system"])


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        ("mine/net.py", True),
        ("mine/blocks.py", True),  # imported by net
        ("mine/deep/layer.py", True),  # imported by blocks, relatively
        ("beside.py", True),  # imported by layer, from the same folder of the path
        ("mine/unused.py", False),
        ("torch/nn.py", False),  # a name of Augean's own packages is that package
    ],
)
def test_the_digest_of_own_code_follows_its_imports(
    edited: str, changes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "mine/__init__.py": "from .net import Net\n",  # _target_: mine.Net
        "mine/net.py": textwrap.dedent("""\
            import os
            import mine.blocks
            from torch import nn

            class Net(nn.Module): pass
        """),
        "mine/blocks.py": "from .deep import layer\nimport mine.net\n",  # a circle ends
        "mine/deep/layer.py": "from beside import VALUE\nfrom ..blocks import x\n",
        "beside.py": "VALUE = 1\n",
        "mine/unused.py": "",
        "torch/nn.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    digests = []
    for extra in ("", "# a comment\n", "EDITED = 1\n"):
        (tmp_path / edited).write_text(files[edited] + extra)
        module_code.cache_clear()
        digests.append(module_code("mine").digest)
    sys.modules.pop("mine", None)
    assert digests[0] == digests[1]
    assert (digests[0] != digests[2]) == changes


def test_below_site_packages_only_the_own_package_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site-packages"
    (folder / "installed").mkdir(parents=True)
    (folder / "installed" / "__init__.py").write_text("import another\nfrom . import part\n")
    for name in ("another.py", "installed/part.py"):
        (folder / name).write_text("")
    monkeypatch.syspath_prepend(str(folder))
    digests = []
    for name in ("another.py", "another.py", "installed/part.py"):
        module_code.cache_clear()
        digests.append(module_code("installed").digest)
        (folder / name).write_text(f"X = {len(digests)}\n")
    module_code.cache_clear()
    assert digests[0] == digests[1] == digests[2] != module_code("installed").digest
