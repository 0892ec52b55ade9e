"""Write a folder of results to commit: what the course report claimed, what holds, and all that it
takes to make it again.

The folder is a function of one archive of small files (see `augean.store.archive`), which lies in
it too.
"""

import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas

from augean.analysis.comparison import Row, Table
from augean.analysis.load import Contents, Run, read_metrics, scan
from augean.errors import AugeanError
from augean.report import ReportResult, make_report
from augean.report.page import environment
from augean.report.tables import number, runs_text
from augean.reproduction.claims import TABLES, Evidence, num_last_epochs, reported
from augean.store.archive import pack
from augean.store.files import write_atomic
from augean.store.merge import unpack
from augean.store.run_directory import runs_dir

ARCHIVE = "runs.tar.xz"
MADE = "<!-- Made by `augean results`; not to be edited. -->"
MOST_BYTES = 10_000_000
FACTS = (
    "dataset_title",
    "num_train",
    "num_val",
    "num_test",
    "width.channels",
    "trainer.epochs",
    "trainer.batch_size",
    "precision",
    "device",
    "threads",
    "git_commit",
)
MARKED = re.compile(r"(<!-- results/([\w.-]+): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""A place in another document that is kept up to date: <!-- results/NAME: BLOCK -->, any text, <!--
end -->."""


def build_results(source: Path, target: Path, documents: Sequence[Path] = ()) -> list[str]:
    """Write the results of an outputs folder, or of an archive that `pack` made, to the folder
    `target`.

    Args:
        target: made anew; what an earlier call made there goes.
        documents: files whose places marked as in `MARKED` with the target's name are filled with
            its blocks.

    Returns:
        Messages about what had to be left out.

    Raises:
        AugeanError: when there are no runs, `target` holds something else, or the results are too
            large to commit.
    """
    page = target / "README.md"
    if target.exists() and not (
        page.is_file() and page.read_text(errors="replace").startswith(MADE)
    ):
        raise AugeanError(
            f"{target}: exists and was not made by `augean results`; remove it or name another"
            " folder"
        )
    with TemporaryDirectory() as temporary:
        new, outputs = Path(temporary) / "results", Path(temporary) / "outputs"
        new.mkdir()
        if source.is_dir():
            problems = pack(source, new / ARCHIVE)
            unpack(
                new / ARCHIVE, outputs
            )  # so that the README never says what the archive does not
        else:
            problems = []
            unpack(source, outputs)
            shutil.copyfile(source, new / ARCHIVE)
        report = make_report(outputs)
        shown = _gather(outputs, report, target.name)
        shutil.copyfile(report.directory / "runs.csv", new / "runs.csv")
        for kind, endings in (("tables", "*.csv"), ("figures", "*.png")):
            (new / kind).mkdir()
            for path in (report.directory / kind).glob(endings):
                shutil.copyfile(path, new / kind / path.name)
        write_atomic(new / "README.md", f"{MADE}\n{render(shown, '.')}\n")
        if (size := sum(path.stat().st_size for path in new.rglob("*"))) > MOST_BYTES:
            raise AugeanError(
                f"the results of {source} have {size:,} bytes, more than {MOST_BYTES:,}: too large"
                " to commit"
            )
        try:
            _replace(target, new)
            for document in documents:
                fill(document, target, shown)
        except OSError as error:
            raise AugeanError(f"cannot write the results: {error}") from error
    return problems + [f"{problem.path}: {problem.message}" for problem in report.problems]


def _replace(target: Path, new: Path) -> None:
    """The old folder, which may hold the only copy of an archive, goes when the new one is
    whole.
    """
    staged = target.with_name(f".{target.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(new, staged)
    shutil.rmtree(target, ignore_errors=True)
    staged.rename(target)


def fill(document: Path, target: Path, shown: dict[str, Any]) -> None:
    """Set blocks of the results into the places of a document that are marked with the target's
    name.
    """
    base = Path(os.path.relpath(target, document.parent)).as_posix()

    def block(match: re.Match[str]) -> str:
        own = match[2] == target.name
        return f"{match[1]}\n{render(shown, base, match[3])}\n\n{match[4]}" if own else match[0]

    write_atomic(document, MARKED.sub(block, document.read_text()))


def render(shown: dict[str, Any], base: str, block: str | None = None) -> str:
    """The README, or one of its blocks for a document from which the results lie at `base`.

    Raises:
        AugeanError: when there is no such block.
    """
    template = environment().get_template("results.md")
    if block is None:
        text = template.render(shown, base=base)
    elif block in template.blocks:
        text = "".join(template.blocks[block](template.new_context({**shown, "base": base})))
    else:
        raise AugeanError(
            f"the results have no block {block}; they have {', '.join(template.blocks)}"
        )
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _gather(outputs: Path, report: ReportResult, name: str) -> dict[str, Any]:
    """What the template shows."""
    contents = scan(outputs)
    metrics = read_metrics(contents, [run["directory"] for run in contents.runs.values()])
    chosen = _choose([table for table, _ in report.sections])
    evidence, runs = Evidence(contents, chosen, metrics), contents.frame()
    judged = [evidence.judge(statement) for statement in reported()["statements"]]
    common = _common(chosen)
    return {
        "name": name,
        "sections": report.sections,
        "pictures": {table.sweep.record.name: pictures for table, pictures in report.sections},
        "chosen": chosen,
        "tables_shown": [chosen[key] for key in TABLES if key in chosen],
        "evidence": evidence,
        "judged": judged,
        "verdicts": Counter(item.verdict for item in judged),
        "common": common,
        "num_last_epochs": num_last_epochs,
        "reduced": _reduced(common.runs[0], chosen) if common else [],
        "official": common is not None and common.runs[0]["dataset.name"] == "cifar10",
        "facts": {key: _values(runs, key) for key in (*FACTS, *runs.filter(like="versions."))},
        "states": Counter(run["state"] for run in contents.runs.values()),
        "hours": float(runs.get("seconds", pandas.Series(dtype=float)).sum()) / 3600,
        "seeds": _range(
            [row.accuracy.n for table in chosen.values() for row in table.rows if row.runs]
        ),
        "unfinished": _unfinished(contents),
        "missing": {
            key: sweep["make"] for key, sweep in reported()["sweeps"].items() if key not in chosen
        },
        "problems": report.problems,
        "command": _command,
        "num": number,
        "archive": ARCHIVE,
    }


def _choose(tables: Sequence[Table]) -> dict[str, Table]:
    """For each sweep file the table that speaks for it: of several, the one with most finished
    runs.
    """
    chosen: dict[str, Table] = {}
    for table in tables:
        name = table.sweep.record.name.split("--")[0]
        if name in reported()["sweeps"] and (
            name not in chosen or len(table.runs) > len(chosen[name].runs)
        ):
            chosen[name] = table
    return chosen


def _common(chosen: Mapping[str, Table]) -> Row | None:
    """The row in the common setting, which Tables 1 to 4 share; None where none of its runs is
    finished.
    """
    rows = [
        row
        for key in TABLES
        if key in chosen
        for row in chosen[key].rows
        if row.label == chosen[key].baseline
    ]
    return next((row for row in rows if row.runs), None)


def _reduced(run: Run, chosen: Mapping[str, Table]) -> list[str]:
    """What stands in for the report's setting, in words; empty where nothing does."""
    theirs, words = (
        reported(),
        [f"{run['dataset_title']} in place of CIFAR-10"] * (run["dataset.name"] != "cifar10"),
    )
    for key, value in theirs["common"].items():
        ours = run.get(key, value)  # a loop of one's own need not have the key
        words += [f"{key.split('.')[-1]} {ours:,} in place of {value:,}"] * (ours != value)
    widths = (
        [row.label for row in chosen["table3_width"].rows]
        if "table3_width" in chosen
        else theirs["widths"]
    )
    if widths != theirs["widths"]:
        words.append(
            f"in Table 3 C = {', '.join(widths)} in place of {', '.join(theirs['widths'])}"
        )
    for key, sweep in theirs["sweeps"].items():
        epochs = (
            {run["trainer.epochs"] for run in chosen[key].runs}
            if key in chosen and "epochs" in sweep
            else set()
        )
        if epochs - {sweep.get("epochs")}:
            words.append(
                f"{key}: {' / '.join(map(str, sorted(epochs)))} epochs in place of"
                f" {sweep['epochs']}"
            )
    return words


def _range(numbers: Sequence[int]) -> str:
    return " to ".join(map(str, sorted({min(numbers, default=0), max(numbers, default=0)})))


def _values(runs: pandas.DataFrame, key: str) -> str:
    """All values of a column, the most frequent first, with their numbers of runs where there are
    several.
    """
    counts = runs[key].dropna().value_counts() if key in runs else pandas.Series(dtype=int)
    texts = {
        f"{value:,.0f}" if isinstance(value, float) else str(value): number
        for value, number in counts.items()
    }
    return " / ".join(
        f"{text} ({runs_text(number)})" if len(texts) > 1 else text
        for text, number in texts.items()
    )


def _unfinished(contents: Contents) -> list[dict[str, str]]:
    """Every run that is not finished and why, without the pruned trials of studies: those are as
    they should be.
    """
    pruned = {
        job.id for sweep in contents.sweeps for job in sweep.record.trials if job.state == "pruned"
    }
    found = []
    for key, run in contents.runs.items():
        note = runs_dir(contents.outputs) / run["directory"] / "failure.txt"
        why = f"in epoch {run['diverged_epoch']:.0f}" if run["state"] == "diverged" else ""
        if note.exists():
            why = note.read_text(errors="replace").strip().splitlines()[-1]
        if run["state"] != "finished" and key not in pruned:
            found.append({"directory": run["directory"], "state": run["state"], "why": why})
    return found


def _command(command: str) -> str:
    """Without what names folders and processes of one machine."""
    return shlex.join(
        part
        for part in shlex.split(command)
        if not re.match(r"runtime\.(?!dataset_title|table)", part)
    )
