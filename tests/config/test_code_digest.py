"""Edits to what a run depends on: 30 that change its results give it another address, 20 that
cannot leave it alone.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from PIL import Image

from augean.config.code_digest import file_code, module_code
from augean.config.compose import compose
from augean.datasets import image_folder
from augean.errors import ConfigError
from augean.runs.address import find_address
from augean.runs.execute import execute
from conftest import ROOT, TINY

MODEL = '''"""A small network."""

import torch
from torch import nn

from my_parts.blocks import scaled


class Small(nn.Module):
    """Two layers."""

    gain = 1.5

    def __init__(self, *, num_classes, activation, channels, dropout):
        """Build it."""
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=1e-5)
        self.act = activation()
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(channels, num_classes)
        nn.init.kaiming_normal_(self.conv.weight)

    def forward(self, images):
        # Mean over both axes of the picture.
        hidden = self.act(self.norm(self.conv(images)))
        hidden = hidden.mean((2, 3)) * self.gain
        if hidden.shape[0] > 4:
            hidden = scaled(hidden)
        return self.head(self.drop(hidden))
'''
BLOCKS = '''"""Parts of the network."""

from .numbers import FACTOR


def scaled(hidden):
    """Times a factor."""
    return hidden * FACTOR + 0.0
'''
NUMBERS = "FACTOR = 2.0\n"
DATA = '''import numpy

from augean.data import Images, Source


class Noise(Source):
    """Noise with labels."""

    def digest(self):
        return f"noise-{self.image_size}"

    def load(self):
        generator = numpy.random.default_rng(7)
        size = self.image_size
        images = generator.integers(0, 256, (80, size, size, 3), dtype=numpy.uint8)
        labels = numpy.arange(80) % 4
        return Images(images[:60], labels[:60], images[60:], labels[60:], ("a", "b", "c", "d"))
'''
FILES = {
    "net.py": MODEL,
    "blocks.py": BLOCKS,
    "numbers.py": NUMBERS,
    "data.py": DATA,
    "__init__.py": "",
    "notes.py": "A = 1\n",
}
OWN = [
    "model.name=small", "model.stem=null", "~model.arguments.blocks",
    "model._target_=my_parts.net.Small",
    "runtime.allowed_packages=[torch,torchvision,augean,my_parts]", "dataset.num_val=20",
    "dataset.name=noise", "dataset._target_=my_parts.data.Noise", "dataset.image_size=16",
    *[item for item in TINY if not item.startswith("dataset")],
]  # fmt: skip

SEMANTIC = {
    "class attribute": ("net.py", "gain = 1.5", "gain = 1.6"),
    "kernel": ("net.py", "channels, 3, padding=1", "channels, 5, padding=2"),
    "bias": ("net.py", "bias=False", "bias=True"),
    "epsilon": ("net.py", "eps=1e-5", "eps=1e-3"),
    "initialisation": ("net.py", "kaiming_normal_", "xavier_normal_"),
    "order of layers": (
        "net.py",
        "self.act(self.norm(self.conv(images)))",
        "self.norm(self.act(self.conv(images)))",
    ),
    "axis": ("net.py", "hidden.mean((2, 3))", "hidden.amax((2, 3))"),
    "threshold": ("net.py", "> 4", "> 5"),
    "comparison": ("net.py", "> 4", ">= 4"),
    "sign": ("net.py", "* self.gain", "* -self.gain"),
    "dropout left out": ("net.py", "self.head(self.drop(hidden))", "self.head(hidden)"),
    "a statement more": (
        "net.py",
        "        return self.head",
        "        hidden = hidden - 1\n        return self.head",
    ),
    "a statement less": ("net.py", "        nn.init.kaiming_normal_(self.conv.weight)\n", ""),
    "another import": (
        "net.py",
        "from my_parts.blocks import scaled",
        "from torch import relu as scaled",
    ),
    "a decorator": ("net.py", "    def forward", "    @torch.no_grad()\n    def forward"),
    "another base": ("net.py", "class Small(nn.Module)", "class Small(nn.Sequential)"),
    "a default": ("net.py", "channels, dropout)", "channels, dropout=0.1)"),
    "indentation": (
        "net.py",
        "            hidden = scaled(hidden)",
        "            0\n        hidden = scaled(hidden)",
    ),
    "string that is no docstring": ("net.py", "gain = 1.5", "gain = len('x') + 0.5"),
    "seed of the data": ("data.py", "default_rng(7)", "default_rng(8)"),
    "labels": ("data.py", "% 4", "% 3"),
    "split": ("data.py", "images[:60], labels[:60]", "images[:50], labels[:50]"),
    "names of classes": ("data.py", '"a", "b"', '"b", "a"'),
    "what the data says it is": ("data.py", 'f"noise-', 'f"sound-'),
    "imported function": ("blocks.py", "+ 0.0", "+ 1.0"),
    "imported operator": ("blocks.py", "hidden * FACTOR", "hidden / FACTOR"),
    "constant imported by what is imported": ("numbers.py", "2.0", "3.0"),
}
"""Three more change no source: a config value, a data file's pixels, a data file's place."""

HARMLESS = {
    "comment": ("net.py", "import torch\n", "import torch  # of course\n"),
    "comment of its own": ("net.py", "# Mean over both axes of the picture.\n", "# Average.\n"),
    "comment less": ("net.py", "        # Mean over both axes of the picture.\n", ""),
    "module docstring": ("net.py", '"""A small network."""', '"""A network."""'),
    "no module docstring": ("net.py", '"""A small network."""\n\n', ""),
    "class docstring": ("net.py", '    """Two layers."""\n\n', ""),
    "method docstring": ("net.py", '"""Build it."""', '"""Build the layers."""'),
    "blank lines": ("net.py", "    def forward", "\n\n    def forward"),
    "blanks in a line": ("net.py", "(3, channels, 3, padding=1", "(3,channels, 3  ,padding = 1"),
    "a call over lines": ("net.py", "nn.Linear(channels,", "nn.Linear(\n            channels,"),
    "brackets": ("net.py", "hidden.mean((2, 3)) * self.gain", "(hidden.mean((2, 3)) * self.gain)"),
    "number written otherwise": ("net.py", "eps=1e-5", "eps=0.00001"),
    "quotes": ("data.py", '"a", "b"', "'a', 'b'"),
    "end of file": ("net.py", "(self.drop(hidden))\n", "(self.drop(hidden))\n\n\n# end\n"),
    "docstring of what is imported": ("blocks.py", '"""Times a factor."""', '"""Multiplied."""'),
    "comment in what is imported": ("numbers.py", "= 2.0\n", "= 2.0  # or so\n# By hand.\n"),
    "a module that is not imported": ("notes.py", "A = 1", "A = 2"),
    "carriage returns": ("net.py", "\n", "\r\n"),
    "unicode in a comment": ("net.py", "of the picture", "de l'image, évidemment"),
}  # fmt: skip
"""One more is in Augean itself: its report."""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "code" / "my_parts"
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(folder.parent))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "my_parts"]:
        del sys.modules[name]


def address(tmp_path: Path, *overrides: str) -> str:
    module_code.cache_clear()
    image_folder.process_contents.clear()
    return find_address(compose([*OWN, f"runtime.outputs={tmp_path}/outputs", *overrides])).id


def edit(package: Path, name: str, old: str, new: str) -> None:
    text = (package / name).read_text()
    assert old in text
    (package / name).write_bytes(text.replace(old, new).encode())


@pytest.mark.parametrize("what", SEMANTIC)
def test_an_edit_that_may_change_results_is_another_run(
    what: str, package: Path, tmp_path: Path
) -> None:
    before = address(tmp_path)
    edit(package, *SEMANTIC[what])
    assert address(tmp_path) != before


@pytest.mark.parametrize("what", HARMLESS)
def test_an_edit_that_changes_no_result_repeats_no_run(
    what: str, package: Path, tmp_path: Path
) -> None:
    before = address(tmp_path)
    edit(package, *HARMLESS[what])
    assert address(tmp_path) == before


def test_a_value_of_the_config_is_another_run(package: Path, tmp_path: Path) -> None:
    assert address(tmp_path) != address(tmp_path, "optimizer.lr=0.051")


@pytest.mark.parametrize("what", ["pixels", "place"])
def test_a_data_file_with_other_pixels_or_in_another_class_is_another_run(
    what: str, tmp_path: Path
) -> None:
    root = tmp_path / "data" / "photos"
    for part in ("train", "test"):
        for label, name in enumerate(("cat", "dog")):
            (root / part / name).mkdir(parents=True)
            for index in range(3):
                pixels = numpy.full((16, 16, 3), 40 * index + label, dtype=numpy.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{index}.png")
    setting = [item for item in TINY if not item.startswith("dataset")]
    photos = [
        "dataset=image_folder",
        "dataset.name=photos",
        "dataset.image_size=16",
        f"runtime.data={tmp_path}/data",
    ]

    def ask() -> str:
        image_folder.process_contents.clear()
        return find_address(compose([*setting, *photos])).id

    before = ask()
    assert ask() == before
    if what == "pixels":
        Image.fromarray(numpy.zeros((16, 16, 3), dtype=numpy.uint8)).save(root / "train/cat/1.png")
    else:
        shutil.move(root / "train/cat/1.png", root / "train/dog/7.png")
    assert ask() != before


def test_an_edit_of_the_report_repeats_no_run(tmp_path: Path) -> None:
    """Another copy of Augean, with its report changed, finds the runs of this one."""
    copy = tmp_path / "augean"
    shutil.copytree(ROOT / "src", copy / "src")
    shutil.copytree(ROOT / "conf", copy / "conf")
    shutil.copy(ROOT / "train.py", copy)
    overrides = [*TINY, "trainer.epochs=1", f"runtime.outputs={tmp_path}/outputs"]
    execute(compose(overrides))
    for path in (copy / "src/augean/report").glob("*.py"):
        path.write_text(path.read_text() + "\nCHANGED = True\n")
    done = subprocess.run(
        [sys.executable, "train.py", *overrides],
        cwd=copy,
        env={"PYTHONPATH": str(copy / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "already finished" in done.stdout, done.stderr


def test_there_are_as_many_edits_as_promised() -> None:
    assert len(SEMANTIC) + 3 == 30
    assert len(HARMLESS) + 1 == 20


def test_results_of_the_old_code_are_not_taken_for_those_of_the_new(
    package: Path, tmp_path: Path
) -> None:
    """One edit through to the end: both runs are trained, and lie side by side."""
    config = compose([*OWN, f"runtime.outputs={tmp_path}/outputs"])
    first = execute(config)
    edit(package, *SEMANTIC["class attribute"])
    module_code.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "my_parts"]:
        del sys.modules[name]
    second = execute(config)
    assert not second.skipped
    assert first.summary.test_loss != second.summary.test_loss
    edit(package, "net.py", "gain = 1.6", "gain = 1.5")
    module_code.cache_clear()
    assert execute(config).skipped


# Packages on the way to a class, and files that code reads


def test_code_of_a_package_on_the_way_to_a_class_is_part_of_its_run(
    package: Path, tmp_path: Path
) -> None:
    before = address(tmp_path)
    init = package / "__init__.py"
    init.write_text('"""A package, without code."""\n')
    assert address(tmp_path) == before
    init.write_text("WIDTH = 8\n")
    eight = address(tmp_path)
    init.write_text("WIDTH = 16  # wider\n")
    assert len({before, eight, address(tmp_path)}) == 3


def test_code_of_a_package_on_the_way_to_an_imported_module_is_part_of_the_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "nets/parts").mkdir(parents=True)
    (tmp_path / "nets/net.py").write_text("from nets.parts.block import Block\n")
    (tmp_path / "nets/parts/block.py").write_text("class Block: pass\n")
    before = file_code(tmp_path / "nets/net.py", tmp_path)
    (tmp_path / "nets/parts/__init__.py").write_text("SLOPE = 0.1\n")
    after = file_code(tmp_path / "nets/net.py", tmp_path)
    assert after.digest != before.digest
    assert set(after.files) - set(before.files) == {"nets/parts/__init__.py"}


def test_of_installed_code_the_files_own_package_counts_alone(tmp_path: Path) -> None:
    root = tmp_path / "site-packages"
    (root / "nets").mkdir(parents=True)
    (root / "nets/net.py").write_text("import other, nets.parts\n")
    (root / "nets/parts.py").write_text("SLOPE = 0.1\n")
    (root / "other.py").write_text("A = 1\n")
    (root / "one_file.py").write_text("import other\n")
    assert list(file_code(root / "nets/net.py", root).files) == ["nets/net.py", "nets/parts.py"]
    assert list(file_code(root / "one_file.py", root).files) == ["one_file.py"]


def test_a_listed_file_is_part_of_the_run(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = address(tmp_path)
    with pytest.raises(ConfigError, match=r"code_files: cannot read settings.json \(No such file"):
        address(tmp_path, "code_files=[settings.json]")
    addresses = {before}
    for text in ("1", "2"):
        Path("settings.json").write_text(text)
        addresses.add(address(tmp_path, "code_files=[settings.json]"))
    assert len(addresses) == 3
