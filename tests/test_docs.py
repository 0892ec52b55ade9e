"""What the README and docs/ tell people to type: every fenced block of bash, python and yaml.

A yaml or python block after a line with a file's name is written there; other python blocks are
run, each after those before it on its page, and so is each line of bash, in a folder that stands
for a checkout with outputs of its own. Training commands get settings that make them small, save
those of a tutorial, which are run as they stand. A page's blocks are run in `make test-slow`;
`make test` looks whether every command, target and script is there.
"""

import ast
import csv
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, pairwise
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from augean.config.schema import Config
from conftest import ROOT
from fake_runs import write_examples

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    ROOT / "results" / "README.md",
]
TUTORIAL = ROOT / "docs" / "tutorial" / "own-images.md"
SMALL = ["trainer.epochs=1"]
SMALL_DATA = [
    "dataset=synthetic", "dataset.image_size=16", "dataset.num_val=40",
    "dataset.arguments.num_train_images=200", "dataset.arguments.num_test_images=60",
]  # fmt: skip


def page_name(page: Path) -> str:
    """Return a page's path inside the repository."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    file: str | None
    skip: str | None
    """Why it is not run: a comment `<!-- not run: reason -->` before it."""

    @property
    def commands(self) -> list[str]:
        joined = self.text.replace("\\\n", " ")
        return [
            line
            for line in joined.splitlines()
            if line.strip() and not line.lstrip().startswith("#")
        ]


def blocks(page: Path) -> list[Block]:
    found, lines = [], page.read_text().splitlines()
    number = 0
    while number < len(lines):
        fence = re.fullmatch(r"```(\w*)", lines[number])
        if fence is None:
            number += 1
            continue
        end = lines.index("```", number + 1)
        before = [line for line in lines[:number] if line.strip()][-1:]
        file = re.fullmatch(r"`([\w./-]+)`:", before[0]) if before else None
        skip = re.fullmatch(r"<!-- not run: (.+) -->", before[0]) if before else None
        text = "\n".join(lines[number + 1 : end]) + "\n"
        found.append(Block(page, number + 1, fence[1], text, file and file[1], skip and skip[1]))
        number = end + 1
    return found


ALL = [block for page in PAGES for block in blocks(page)]


def test_every_block_says_what_it_is() -> None:
    assert len(ALL) > 20
    for block in ALL:
        known = block.language in ("bash", "python", "yaml", "text", "")
        assert known, f"{block.page.name}:{block.line}: a block of {block.language!r}"


def words(command: str) -> list[str]:
    """Without the variables set before it: tests have one thread anyway."""
    parts = shlex.split(command, comments=True)
    return list(dropwhile(lambda part: re.match(r"[A-Z_]+=", part), parts))


def help_text() -> str:
    command = [sys.executable, "-m", "augean", "--help"]
    return subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_command_is_one_that_there_is(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands_text = help_text()
    for block in blocks(page):
        for command in block.commands if block.language == "bash" else []:
            first, *rest = words(command)
            if first == "make":
                assert {word for word in rest if "=" not in word} <= targets, command
            elif first == "augean":
                assert f"{rest[0]} " in commands_text or rest[0].startswith("-"), command
            elif first == "python" and not rest[0].startswith("-"):
                assert (ROOT / rest[0]).is_file() or any(
                    other.file == rest[0] for other in blocks(page)
                ), command


def test_the_page_of_commands_has_every_command() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    names = re.findall(r"^    ([a-z]+) ", help_text(), re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert re.search(rf"`(augean )?{name}\b", page), name


def small(arguments: list[str]) -> list[str]:
    """A training command's arguments with what makes it small."""
    if {"--cfg", "--help", "-h", "--info"} & set(arguments):
        return arguments
    text = " ".join(arguments)
    # A list of a sweep file is replaced by giving it again; studies get few trials.
    more = [] if re.search(r"trainer\.epochs=", text) else SMALL
    if not re.search(r"\bdataset=|experiment=demo|starter_demo|-cn config|-cd (mine|conf)\b", text):
        more = [*more, *SMALL_DATA]
    if re.search(r"-cn tune|n_trials", text):
        more = [*more, "hydra.sweeper.n_trials=2", "hydra.sweeper.final_seeds=1"]
    if not re.search(r"width|-cn table3|-cd (mine|conf)\b", text):
        more = [*more, "width=w8"]
    return [*arguments, *more]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like a checkout: everything but the outputs is the real one."""
    for path in ROOT.iterdir():
        if path.name not in (".git", "outputs", ".pytest_cache"):
            (tmp_path / path.name).symlink_to(path)
    return tmp_path


def run_line(command: str, folder: Path, as_it_stands: bool = False) -> None:
    """Run a line of bash, a training command with settings that make it small.

    Args:
        command: the line.
        folder: where it is run.
        as_it_stands: nothing is added to it.
    """
    first, *rest = words(command)
    if first == "make":
        done = subprocess.run(["make", "-n", *rest], cwd=folder, capture_output=True, text=True)
    elif first == "source":
        return  # this process's Python is the one of the environment
    else:
        program = first
        trains = rest[0] == "train.py" or (first == "augean" and rest[0] in ("train", "settle"))
        if trains and not as_it_stands:
            rest = small(rest)
        if first == "python":
            program = sys.executable
        elif first == "augean":
            program, rest = sys.executable, ["-m", "augean", *rest]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
        done = subprocess.run(
            [program, *rest], cwd=folder, env=environment, capture_output=True, text=True
        )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def run_page(page: Path, folder: Path, as_it_stands: bool = False) -> None:
    """Write the files of a page and run its blocks, one after the other."""
    session = ""
    for block in blocks(page):
        if block.skip:
            continue
        if block.file:
            target = folder / block.file
            assert not (folder / Path(block.file).parts[0]).is_symlink(), block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        elif block.language == "python":
            session += block.text
            done = subprocess.run(
                [sys.executable, "-c", session], cwd=folder, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{page.name}:{block.line}\n{done.stderr[-2000:]}"
        elif block.language == "bash":
            for command in block.commands:
                run_line(command, folder, as_it_stands)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page != TUTORIAL], ids=page_name)
def test_everything_that_a_page_says_can_be_done(page: Path, checkout: Path) -> None:
    if page.name == "notebook.md":  # it reads runs and makes none
        write_examples(checkout / "outputs")
    run_page(page, checkout)


@pytest.mark.slow
def test_the_tutorial_ends_with_a_settled_table(tmp_path: Path) -> None:
    run_page(TUTORIAL, tmp_path, as_it_stands=True)
    table = tmp_path / "outputs" / "report" / "tables" / "parts.csv"
    with table.open() as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["base", "no batch norm", "elu", "higher rate", "crops and flips"]
    # Another processor may need other numbers of seeds for rows that are close; this one is not.
    assert rows["no batch norm"]["difference_verdict"].startswith("worse")
    assert int(rows["no batch norm"]["n"]) < 20


def schema_docstrings() -> dict[str, str]:
    """Return the docstring of every key of the schema, by its dotted name, in one line."""
    schema = ROOT / "src" / "augean" / "config" / "schema.py"
    classes = {
        node.name: node.body
        for node in ast.parse(schema.read_text()).body
        if isinstance(node, ast.ClassDef)
    }

    def walk(name: str, prefix: str) -> Iterator[tuple[str, str]]:
        for field, after in pairwise([*classes[name], None]):
            if not isinstance(field, ast.AnnAssign):
                continue
            assert isinstance(field.target, ast.Name)
            key = prefix + field.target.id
            annotation = ast.unparse(field.annotation)
            if annotation in classes:
                yield from walk(annotation, f"{key}.")
            else:
                assert isinstance(after, ast.Expr), f"{key} has no docstring"
                yield key, " ".join(ast.literal_eval(after.value).split())

    return dict(walk("Config", ""))


def lines_of_all_keys() -> list[tuple[str, str, str]]:
    """Return key, default and meaning of each line of the page of settings."""
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()
    table = page.partition("## All keys")[2]
    return re.findall(r"^\| `([\w.]+)` \| ([^|]*) \| (.*) \|$", table, re.MULTILINE)


def test_the_page_of_settings_has_every_key_with_the_schemas_words() -> None:
    described = {key: meaning for key, _, meaning in lines_of_all_keys()}
    assert described == schema_docstrings()


def test_the_page_of_settings_has_the_schemas_defaults() -> None:
    schema = OmegaConf.structured(Config())
    for key, cell, _ in lines_of_all_keys():
        *groups, name = key.split(".")
        node = schema
        for group in groups:
            node = node[group]
        if OmegaConf.is_missing(node, name):
            assert cell == "", key
        else:
            assert OmegaConf.create(f"value: {cell.strip('`')}").value == node[name], key
