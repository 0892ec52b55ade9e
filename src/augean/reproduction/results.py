"""Write a folder of results to commit: what the course report claimed, and what of it holds.

The folder is made from one archive of small files (see `augean.store.archive`), which is part of
it. So anyone can make the folder again.
"""

import logging
import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import ChoiceLoader, FileSystemLoader, Template

from augean.analysis.comparison import Table
from augean.analysis.load import Contents, scan
from augean.analysis.recordings import read_metrics
from augean.errors import AugeanError
from augean.regular_files import DATA_BYTES, read_regular
from augean.report import ReportResult, make_report
from augean.report.page import text_environment
from augean.report.tables import number
from augean.reproduction.claims import TABLES, Evidence
from augean.reproduction.rates import read_rates
from augean.reproduction.rivals import RIVALS, read_rivals
from augean.reproduction.setting import (
    describe_seeds,
    describe_setting,
    name_stand_ins,
    pruned_runs,
)
from augean.reproduction.statements import Judgement, course_report, num_last_epochs
from augean.store.archive.packing import pack, unpack
from augean.store.files import write_atomic
from augean.store.record_identity import record_paths
from augean.store.record_titles import distinct_titles
from augean.store.run_directory import read_failure_line, runs_dir
from augean.store.summary import RunState
from augean.store.sweep_record import SweepRecord, read_record

logger = logging.getLogger(__name__)

ARCHIVE = "runs.tar.xz"
FIRST_LINE = "<!-- Made by `augean results`; not to be edited. -->"
"""First line of the README: `build_results` replaces only folders whose README has it."""
MAX_BYTES = 10_000_000
"""Largest size of a folder of results, so that it can be committed to a repository."""
MARKED_PLACE = re.compile(r"(<!-- results/([\w.-]+): (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""A place in another document that `fill` keeps up to date: <!-- results/NAME: BLOCK -->, any text,
and <!-- end -->."""


def build_results(source: Path, target: Path, documents: Sequence[Path] = ()) -> list[str]:
    """Write the results of an outputs folder, or of an archive that `pack` made, to `target`.

    Args:
        target: made anew; what an earlier call made there goes.
        documents: files in which `fill` finds marked places.

    Returns:
        Messages about what had to be left out.

    Raises:
        AugeanError: when there are no runs, `target` holds something else, a document cannot be
            read, or the results are too large to commit.
    """
    _check_target(target)
    # Now, as drawing takes minutes and the folder is replaced before the first document is filled.
    for document in documents:
        _read_document(document)
    # Whole paths: "." has no name, and it may be the very folder that is replaced.
    target = Path(os.path.abspath(target))
    documents = [Path(os.path.abspath(document)) for document in documents]
    with TemporaryDirectory() as temporary:
        new = Path(temporary) / "results"
        outputs = Path(temporary) / "outputs"
        new.mkdir()
        problems = []
        if source.is_dir():
            problems = pack(source, new / ARCHIVE)
            unpack(new / ARCHIVE, outputs)
        else:
            # Unpacked before it is copied, so that a message names the file that the user gave.
            unpack(source, outputs)
            shutil.copyfile(source, new / ARCHIVE)
        _write_stand_ins(outputs)
        # All the rest is made from the archive, even where the runs are at hand: the README cannot
        # show more than the archive holds. Code and data that made the runs may be absent here, so
        # nothing is compared with them.
        report = make_report(outputs, check_freshness=False)
        variables = _gather(outputs, report, target.name)
        _copy_files(report.directory, new)
        write_atomic(new / "README.md", f"{FIRST_LINE}\n{render(variables, '.')}\n")
        _check_size(new, source)
        try:
            _replace(target, new)
            for document in documents:
                fill(document, target, variables)
        except OSError as error:
            raise AugeanError(f"cannot write the results: {error}") from error
    for problem in report.problems:
        message = f"{problem.path}: {problem.message}"
        if problem.unreadable:
            problems.append(message)
        else:
            logger.warning(message)
    return problems


def _write_stand_ins(outputs: Path) -> None:
    """Write the records anew whose rows stand for others of the course report."""
    for path in record_paths(outputs):
        # The report names a record that cannot be read.
        with suppress(AugeanError):
            # By the name of its file: that in a stranger's record could lead to any folder.
            record = replace(read_record(path), name=path.stem)
            with_stand_ins = name_stand_ins(record)
            if with_stand_ins is not record:
                with_stand_ins.write(outputs)


def _check_target(target: Path) -> None:
    """Refuse to replace a folder that an earlier call did not make."""
    page = target / "README.md"
    try:
        may_be_replaced = read_regular(page, DATA_BYTES).startswith(FIRST_LINE.encode())
    except OSError:
        may_be_replaced = False
    if target.exists() and not may_be_replaced:
        raise AugeanError(
            f"{target}: exists and was not made by `augean results`; remove it or name another"
            " folder"
        )


def _copy_files(report: Path, new: Path) -> None:
    """Copy what the README names: runs.csv, the tables' numbers, the figures and their numbers."""
    shutil.copyfile(report / "runs.csv", new / "runs.csv")
    for kind in ("tables", "figures"):
        (new / kind).mkdir()
    for pattern in ("tables/*.csv", "figures/*.png", "figures/*.csv"):
        for path in report.glob(pattern):
            shutil.copyfile(path, new / path.relative_to(report))


def _check_size(new: Path, source: Path) -> None:
    """Refuse results that are too large to commit."""
    size = sum(path.stat().st_size for path in new.rglob("*"))
    if size > MAX_BYTES:
        raise AugeanError(
            f"the results of {source} have {size:,} bytes, more than {MAX_BYTES:,}: too large to"
            " commit"
        )


def _replace(target: Path, new: Path) -> None:
    """Put the new folder in the place of the old one.

    The old one, which may hold the only copy of an archive, goes when the new one is whole.
    """
    # Copied first, since `new` may be on another disk: then only a rename is left.
    staged = target.with_name(f".{target.name}.new")
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(new, staged)
    shutil.rmtree(target, ignore_errors=True)
    staged.rename(target)


def fill(document: Path, target: Path, variables: dict[str, Any]) -> None:
    """Put blocks of the results into the places of a document that have the target's name.

    Args:
        variables: of the template, as `_gather` returns them.
    """
    # Links in the blocks are relative to the document.
    base = Path(os.path.relpath(target, document.parent)).as_posix()

    def replacement(match: re.Match[str]) -> str:
        start, name, block_name, end = match.groups()
        if name != target.name:
            return match[0]  # a place for other results
        return f"{start}\n{render(variables, base, block_name)}\n\n{end}"

    write_atomic(document, MARKED_PLACE.sub(replacement, _read_document(document)))


def _read_document(document: Path) -> str:
    """Return the text of a document that is to be filled.

    Raises:
        AugeanError: when it cannot be read, or is not text in UTF-8.
    """
    try:
        return read_regular(document, DATA_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise AugeanError(
            f"--fill {document}: cannot be read ({error}); name a file of text in UTF-8"
        ) from error


def render(variables: dict[str, Any], base: str, block: str | None = None) -> str:
    """Return the README, or one of its blocks for a document that sees the results at `base`.

    Raises:
        AugeanError: when there is no such block.
    """
    template = _template()
    # Another document may show several passes, so each heading there names its own.
    of_pass = "" if base == "." else f" ({variables['name']})"
    variables = {**variables, "base": base, "of_pass": of_pass}
    if block is None:
        text = template.render(variables)
    elif block in template.blocks:
        context = template.new_context(variables)
        text = "".join(template.blocks[block](context))
    else:
        raise AugeanError(
            f"the results have no block {block}; they have {', '.join(template.blocks)}"
        )
    # Parts of the template that do not apply leave empty lines.
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _template() -> Template:
    """Return results.md, which lies beside this file and includes templates of the report."""
    environment = text_environment()
    # Names are looked up among the report's templates first, then beside this file.
    loaders = [environment.loader, FileSystemLoader(Path(__file__).parent)]
    loader = ChoiceLoader([loader for loader in loaders if loader is not None])
    return environment.overlay(loader=loader).get_template("results.md")


def _gather(outputs: Path, report: ReportResult, name: str) -> dict[str, Any]:
    """Return the variables of the template."""
    # 1. Read the runs, and judge every statement by the tables.
    contents = scan(outputs, check_freshness=False)
    metrics = read_metrics(contents, contents.runs.values())
    tables = [table for table, _ in report.sections]
    chosen = _choose(tables)
    evidence = Evidence(contents, chosen, metrics)
    judged = [evidence.judge(statement) for statement in course_report().statements]
    # 2. Collect what the page says of them.
    sweeps = course_report().sweeps
    missing = {key: sweep.make for key, sweep in sweeps.items() if key not in chosen}
    judgements = Counter(item.judgement for item in judged)
    tables_shown = [chosen[key] for key in TABLES if key in chosen]
    # A pass with none of the course report's sweeps is about its own tables.
    if not chosen:
        tables_shown = tables
    pictures_by_record = {}
    for table, pictures in report.sections:
        pictures_by_record[table.sweep.record.name] = pictures
    return {
        "name": name,
        "archive": ARCHIVE,
        "sections": report.sections,
        "beginning": report.beginning,
        "pictures": pictures_by_record,
        "chosen": chosen,
        "tables_shown": tables_shown,
        "titles": distinct_titles(table.sweep.record for table in tables),
        "evidence": evidence,
        "judged": judged,
        "rates": read_rates(chosen["optimizer_lr"]) if "optimizer_lr" in chosen else None,
        "judgements": judgements,
        "in_words": {item: _count_in_words(item, judgements[item]) for item in Judgement},
        "rivals": read_rivals(chosen),
        "rival_sweeps": RIVALS,
        "unfinished": _unfinished(contents),
        "unfinished_studies": _unfinished_studies(tables),
        "missing": missing,
        "problems": report.problems,
        **describe_setting(contents, chosen),
        "seeds": describe_seeds(list(chosen.values()) or tables),
        "command": _portable_command,
        "num": number,
        "num_last_epochs": num_last_epochs,
    }


def _count_in_words(judgement: Judgement, count: int) -> str:
    """Return how many statements came to a judgement, such as "1 is wrong" or "3 hold"."""
    is_or_are = "is" if count == 1 else "are"
    words = {
        Judgement.HOLDS: "holds" if count == 1 else "hold",
        Judgement.WITHIN_NOISE: f"{is_or_are} within noise",
        Judgement.WRONG: f"{is_or_are} wrong",
        Judgement.CANNOT_BE_SAID: "cannot be said here",
    }
    return f"{count} {words[judgement]}"


def _choose(tables: Sequence[Table]) -> dict[str, Table]:
    """Return for each sweep file the table that speaks for it: that with most finished runs."""
    chosen = {}
    for key in course_report().sweeps:
        candidates = [table for table in tables if table.sweep.record.is_of(key)]
        if candidates:
            # Of equal numbers `max` returns the first.
            chosen[key] = max(candidates, key=lambda table: len(table.runs))
    return chosen


def _unfinished(contents: Contents) -> list[dict[str, str]]:
    """Return every run that is not finished and why, without those of pruned trials."""
    pruned = pruned_runs(contents)
    unfinished = []
    for run_id, run in contents.runs.items():
        if run.state is RunState.FINISHED or run_id in pruned:
            continue
        why = read_failure_line(runs_dir(contents.outputs) / run.directory)
        if why is None and run.summary is not None and run.summary.diverged is not None:
            why = f"in epoch {run.summary.diverged.epoch}"
        unfinished.append({"directory": run.directory, "state": run.state, "why": why or ""})
    return unfinished


def _unfinished_studies(tables: Sequence[Table]) -> list[SweepRecord]:
    """Return the records of studies that lack trials; a timeout may have ended one before all."""
    records = []
    for table in tables:
        record = table.sweep.record
        ended_early = record.winner and record.timeout
        if record.num_trials_done < (record.num_trials or 0) and not ended_early:
            records.append(record)
    return records


def _portable_command(command: str) -> str:
    """Return the command without settings of one machine, such as folders and workers."""
    # All keys of `runtime` are such settings, except the words of the table and own code.
    machine_only = re.compile(r"runtime\.(?!dataset_title|table|allowed_packages)")
    parts = [part for part in shlex.split(command) if not machine_only.match(part)]
    return shlex.join(parts)
