"""The small files of an outputs folder as one archive, and archives from elsewhere merged into a
folder.

Weights and checkpoints stay behind: a run is finished by its summary, whose digests prove every
file that came along. The same runs make the same archive, byte for byte.
"""

import io
import lzma
import re
import tarfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from augean.errors import AugeanError, RunLocked
from augean.store.checkpoints import remove_checkpoints
from augean.store.files import file_sha256, write_atomic
from augean.store.locks import hold_lock
from augean.store.run_directory import clear_leftovers, run_state, runs_dir
from augean.store.summary import DIGESTED_FILES, read_summary
from augean.store.sweep_record import SweepRecord, read_record

WEIGHTS = "best.pt"
RUN_FILES = (
    *(name for name in DIGESTED_FILES if name != WEIGHTS),
    "train.log",
    "failure.txt",
    "summary.json",
)
"""What is packed of a run; the summary is the last."""
MEMBER = re.compile(
    r"(?a:runs/\w[\w.+=,-]*-[0-9a-f]{10}/(?P<file>[a-z]+\.[a-z]+)|sweeps/\w[\w.+-]*\.json|studies/\w[\w.+-]*\.journal)"
)
"""Names that an archive may hold: none leaves the folder that it is unpacked into."""
MAX_BYTES = 256 * 2**20
"""Of one file of an archive: far above the largest of them, a study's journal."""


@dataclass
class Merged:
    """What `unpack` did."""

    runs: Counter[str] = field(default_factory=Counter)
    """How many runs were new, came instead of an unfinished one, or were there already."""
    remarks: list[str] = field(default_factory=list)
    """What was left as it is, and why."""


def check_run(path: Path) -> bool:
    """Whether the run at `path` is over. Its weights may be absent: then it was packed, and is none
    the worse.

    Raises:
        AugeanError: when the summary, or a file that it has the digest of, was altered or is
            missing.
    """
    summary = read_summary(path)
    if summary is None:
        return False
    if summary.id != path.name[-10:]:
        raise AugeanError(
            f"{path}: holds the summary of another run, {summary.id}; remove the folder"
        )
    for name in DIGESTED_FILES:
        digest = file_sha256(path / name) if (path / name).is_file() else None
        if digest != summary.files.get(name) and (digest or name != WEIGHTS):
            raise AugeanError(
                f"{path / name}: altered or missing since the run was finished; remove the run's"
                " folder"
            )
    return True


def _check_record(path: Path) -> None:
    """Its name becomes the name of a file when it is written again."""
    if (name := read_record(path).name) != path.stem:
        raise AugeanError(
            f"{path}: the record of another sweep, {name}; give the file that name, or remove it"
        )


def pack(outputs: Path, archive: Path) -> list[str]:
    """Write the small files of all runs, sweep records and studies below `outputs` to `archive`, a
    .tar.xz.

    Returns:
        A message for each run and record that is damaged and was left out.

    Raises:
        AugeanError: when there is nothing to pack or the archive cannot be written.
    """
    files, damaged = dict[str, bytes](), list[str]()
    for path in sorted(runs_dir(outputs).glob("[!.]*-*")):
        try:
            over = check_run(path)
        except AugeanError as error:
            damaged.append(str(error))
            continue
        # A run that finishes at this moment counts as unfinished: its summary is not read a second
        # time.
        for name in RUN_FILES if over else RUN_FILES[:-1]:
            if (path / name).is_file():
                files[f"runs/{path.name}/{name}"] = (path / name).read_bytes()
    for path in sorted(outputs.glob("sweeps/*.json")):
        try:
            _check_record(path)
            files[f"sweeps/{path.name}"] = path.read_bytes()
        except AugeanError as error:
            damaged.append(str(error))
    files |= {
        f"studies/{path.name}": path.read_bytes()
        for path in sorted(outputs.glob("studies/*.journal"))
    }
    if not files:
        raise AugeanError(f"{outputs}: no runs to pack; name the folder that runtime.outputs named")
    left_out = {name: "no file of ours by its name" for name in files if not MEMBER.fullmatch(name)}
    for name, text in files.items():
        if len(text) > MAX_BYTES:
            left_out[name] = f"{len(text) / 2**20:,.0f} MiB, more than unpack takes"
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files.keys() - left_out.keys()):
            entry = tarfile.TarInfo(name)  # time, owner and mode are the same everywhere
            entry.size = len(files[name])
            tar.addfile(entry, io.BytesIO(files[name]))
    try:
        archive.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(f"{archive}: cannot make its folder ({error.strerror})") from error
    write_atomic(archive, content.getvalue())
    return damaged + [f"{outputs / name}: {reason}; left out" for name, reason in left_out.items()]


def unpack(archive: Path, outputs: Path) -> Merged:
    """Merge an archive into `outputs`: a finished run there stays, an unfinished one gives way to a
    finished one.

    Grids of one name become one with the jobs of both; of two states of one study the later one
    stays.

    Raises:
        AugeanError: before anything is merged, when the archive cannot be read, holds a foreign
            name or a damaged run.
    """
    merged, folders = Merged(), [outputs / name for name in ("runs", "sweeps", "studies")]
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AugeanError(f"{outputs}: cannot unpack there ({error.strerror})") from error
    with TemporaryDirectory(prefix=".unpack-", dir=folders[0]) as temporary:
        staged = Path(temporary)
        _extract(archive, staged)
        runs, sweeps = sorted(staged.glob("runs/*")), sorted(staged.glob("sweeps/*.json"))
        over = {run: check_run(run) for run in runs}
        for sweep in sweeps:
            _check_record(sweep)
        for run in runs:
            try:
                merged.runs[_merge_run(run, folders[0] / run.name, outputs, over[run])] += 1
            except RunLocked:
                merged.remarks.append(f"{run.name}: is being trained here and was left alone")
        for journal in staged.glob("studies/*"):
            _merge_journal(journal.read_bytes(), folders[2] / journal.name, merged)
        for sweep in sweeps:
            _merge_record(sweep, folders[1] / sweep.name, merged)
    return merged


def _extract(archive: Path, target: Path) -> None:
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                match = MEMBER.fullmatch(member.name)
                if not match or not member.isreg() or match["file"] not in (None, *RUN_FILES):
                    raise AugeanError(
                        f"{archive}: holds {member.name!r}, which no `augean pack` writes; not"
                        " unpacked"
                    )
                if member.size > MAX_BYTES:  # it would be read whole
                    raise AugeanError(
                        f"{archive}: {member.name} has {member.size / 2**20:,.0f} MiB; not unpacked"
                    )
                tar.extract(member, target, filter="data")
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError) as error:
        reason = (
            str(error).splitlines()[0].removesuffix(":")
        )  # the rest says what each kind of archive misses
        raise AugeanError(f"{archive}: no archive of runs that can be read ({reason})") from error


def _merge_run(staged: Path, target: Path, outputs: Path, over: bool) -> str:
    """Returns what was done, for `Merged.runs`."""
    identity = target.name[-10:]
    with hold_lock(outputs, identity, wait=False):
        if not target.exists():
            staged.rename(target)
            return "new"
        if not over or run_state(outputs, target, identity).is_completed:
            return "there already"
        clear_leftovers(target)
        for name in filter(lambda name: (staged / name).exists(), RUN_FILES):  # the summary last
            (staged / name).replace(target / name)
        remove_checkpoints(target)
        return "instead of an unfinished one"


def _merge_journal(content: bytes, path: Path, merged: Merged) -> None:
    """A journal only grows, so the longer of two is the later one if it begins with the other."""
    with FileLock(
        f"{path}.flock", fallback_to_soft=False
    ):  # the one that studies hold while they write
        ours = path.read_bytes() if path.exists() else b""
        if content.startswith(ours):
            write_atomic(path, content)
        elif not ours.startswith(content):
            merged.remarks.append(f"{path}: another study of that name is here and stays")


def _merge_record(file: Path, path: Path, merged: Merged) -> None:
    if not path.exists():
        write_atomic(path, file.read_bytes())
        return
    ours, theirs = read_record(path), read_record(file)
    if ours.kind == "grid":
        jobs = {(job.id, job.row): job for job in (*ours.jobs, *theirs.jobs)}
        replace(ours, jobs=list(jobs.values())).write(path.parents[1])
    elif _trials(ours) <= _trials(theirs) and _progress(ours) <= _progress(theirs):
        theirs.write(path.parents[1])
    elif not _trials(theirs) <= _trials(ours):
        merged.remarks.append(f"{path}: another study of that name is here and stays")


def _trials(record: SweepRecord) -> set[tuple[int | None, str]]:
    return {(job.trial, job.id) for job in record.jobs}


def _progress(record: SweepRecord) -> tuple[int, int, int]:
    """How far a study has come."""
    states: Counter[str | None] = Counter(job.state for job in record.trials)
    return len(record.jobs), states["complete"] + states["pruned"], len(record.winner)
