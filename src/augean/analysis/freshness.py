"""Say whether a run is outdated: whether code, data or weights that it began from have changed.

That is not a state of a run. Its result stays what it was, but the command that made it would now
train a new run at another address. Neither torch nor any code of the user's is loaded for the
answer, and each file is read once for all runs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from augean.config.code_digest import CodeFiles, top_name
from augean.config.instantiate import find_class
from augean.config.override_text import command_in
from augean.config.run_id import CORE
from augean.config.validation import own_packages
from augean.datasets.base import Source
from augean.errors import AugeanError
from augean.store.record_identity import record_path
from augean.store.run_directory import place_at, runs_dir
from augean.store.run_files import UNPACKED, id_in_name
from augean.store.summary import RunSummary, read_summary
from augean.store.sweep_record import SweepRecord, read_record
from augean.store.weights_file import (
    RUN,
    WeightsFile,
    is_published,
    weights_of_file,
    weights_of_run,
)

Outdated = Literal["no", "yes", "unknown"]
MAX_REASONS = 3
"""Reasons that are given for one run."""
LARGEST_WEIGHTS = 2**30
"""Bytes of a file of weights that is read, which takes about a second."""
DATASETS = "augean.datasets."
"""Classes of data sets that may be asked for their digest; others are code of the user's."""
ARGUMENTS = "dataset.arguments."
DATA_KEYS = ("dataset._target_", "dataset.name", "dataset.image_size", ARGUMENTS)
"""Beginnings of the config keys that say which data a run has."""


@dataclass(frozen=True)
class Freshness:
    """Whether a run is outdated, and why."""

    outdated: Outdated
    reason: str = ""
    """What has changed, such as "mine/act.py has changed"; or what is not known, such as
    "mine/act.py is not here". Empty for "no"."""


FRESH = Freshness("no")


@dataclass(frozen=True)
class _Roots:
    """Folders in which files that a run names by a relative path are looked for, in this order."""

    own: tuple[Path, ...]
    """Folders that the run recorded, so that a file there is its own: another content is a
    change."""
    other: tuple[Path, ...]
    """Folders of which that is not known, and which may be another project's. A file there may show
    that nothing has changed, never that something has."""


class FreshnessCheck:
    """Compare runs of one folder with code, data and weights as they are now."""

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs
        # Thousands of runs share few sets of code and few data sets, so each is compared once.
        self._code: dict[str, Freshness] = {}
        """By what a run recorded of its code."""
        self._digests: dict[str, str | Freshness] = {}
        """By data set, its digest or why it is not known."""
        self._weights: dict[str, WeightsFile | Freshness | None] = {}
        """By the weights that runs began from, their file or why it is not known; None where it is
        not here."""
        self._files = CodeFiles()
        self._unpacked = {
            id_in_name(mark.parent.name) for mark in runs_dir(outputs).glob(f"*/{UNPACKED}")
        }
        """Ids of the runs that came in an archive: the folders that they recorded are another
        project's."""

    def check(self, summary: RunSummary) -> Freshness:
        """Compare one completed run."""
        findings = [
            _check_core(summary),
            self._check_code(summary),
            self._check_data(summary),
            self._check_weights(summary),
        ]
        return _combine(findings)

    def _check_code(self, summary: RunSummary) -> Freshness:
        recorded = summary.code_digests
        if recorded is None:
            # A run of an earlier release: only one with own code would have had any to record.
            if summary.loop is None and not own_packages(summary.config):
                return FRESH
            return Freshness("unknown", "the run recorded no digests of its code")
        if not recorded:
            return FRESH
        code_files = summary.config.get("code_files")
        roots = self._roots(summary)
        key = repr((sorted(recorded.items()), code_files, roots))
        if key not in self._code:
            listed = set(map(str, code_files)) if isinstance(code_files, list) else set()
            findings = self._compare_files(recorded, listed, roots)
            self._code[key] = _combine(findings)
        return self._code[key]

    def _roots(self, summary: RunSummary) -> _Roots:
        """Return the folders from which the run's own code may have been imported."""
        places = summary.places or {}
        recorded = []
        for name in ("loop", "start"):
            if name in places:
                recorded.append(place_at(self.outputs, places[name]))
        if summary.id in self._unpacked:
            return _Roots(own=(), other=(*recorded, Path.cwd()))
        return _Roots(own=tuple(recorded), other=(Path.cwd(),))

    def _compare_files(
        self, recorded: Mapping[str, str], listed: set[str], roots: _Roots
    ) -> Iterator[Freshness]:
        """Yield what has changed of the files of a run's code, and which are not here.

        Args:
            recorded: digest of each file by its path from the folder on Python's path.
            listed: those of them that the config names as `code_files`.
            roots: folders to look in, before those of Python's path.
        """
        own_folders = {path: self._own_folder(path, roots.own) for path in recorded}
        packages_here = {
            top_name(path) for path, folder in own_folders.items() if folder is not None
        }
        for path in recorded:
            folder = own_folders[path]
            if folder is not None:
                yield from self._compare_file(path, folder, recorded, listed)
            elif top_name(path) in packages_here:
                # Its package is here, so the file was removed or renamed.
                yield Freshness("yes", f"{path} is gone")
            else:
                yield self._compare_elsewhere(path, roots.other, recorded, listed)

    def _own_folder(self, path: str, roots: tuple[Path, ...]) -> Path | None:
        """Return the recorded folder with a file, or one below it on Python's path; else None."""
        on_path = self._files.folder_on_path(path)
        if on_path is not None:
            folder = on_path.resolve()
            if any(folder.is_relative_to(root.resolve()) for root in roots):
                roots = (*roots, on_path)
        return _first_with(path, roots)

    def _compare_elsewhere(
        self, path: str, folders: Iterable[Path], recorded: Mapping[str, str], listed: set[str]
    ) -> Freshness:
        """Compare a file with those of its path that may be another project's."""
        is_here = False
        for folder in (*folders, self._files.folder_on_path(path)):
            if folder is None or not (folder / path).is_file():
                continue
            is_here = True
            changes = list(self._compare_file(path, folder, recorded, listed))
            if not changes:
                return FRESH
        return _not_its_own(path) if is_here else Freshness("unknown", f"{path} is not here")

    def _compare_file(
        self, path: str, folder: Path, recorded: Mapping[str, str], listed: set[str]
    ) -> Iterator[Freshness]:
        """Yield what has changed of one file of a run's code; nothing where it is the same."""
        try:
            for change in self._files.find_changes(path, folder, recorded, listed):
                yield Freshness("yes", change)
        except (OSError, ValueError, RecursionError):
            yield Freshness("unknown", f"{path} cannot be read")

    def _check_data(self, summary: RunSummary) -> Freshness:
        recorded = summary.data_digest
        if recorded is None:
            # A custom loop may read data of its own, which is then no part of its address.
            if summary.loop is not None:
                return FRESH
            return Freshness("unknown", "the run recorded no digest of its data")
        node = {key: value for key, value in summary.config.items() if key.startswith("dataset.")}
        places = summary.places or {}
        data = self._folder(places.get("data"), "data")
        cache = self._folder(places.get("cache"), "data/.augean")
        # Without mean, crop and the like, which change no image on disk.
        data_values = [node[key] for key in node if key.startswith(DATA_KEYS)]
        key = repr((data_values, data, cache))
        if key not in self._digests:
            self._digests[key] = _current_digest(node, data, cache)
        current = self._digests[key]
        if isinstance(current, Freshness):
            return current
        if current == recorded:
            return FRESH
        if "data" not in places or summary.id in self._unpacked:
            return _not_its_own(_data_name(node))
        return Freshness("yes", f"{_data_name(node)} has changed")

    def _check_weights(self, summary: RunSummary) -> Freshness:
        name = summary.config.get("model.weights")
        recorded = summary.weights_digest
        # A name of torchvision's stands for one file for ever: its digest is in the file's name.
        if recorded is None or not isinstance(name, str) or is_published(name):
            return FRESH
        roots = self._roots(summary)
        for folders in (roots.own, roots.other):
            weights = self._weights_in(name, folders)
            if isinstance(weights, Freshness):
                return weights
            if weights is None:
                continue
            if recorded in weights.digests:
                return FRESH
            if folders is roots.own and summary.id not in self._unpacked:
                return Freshness("yes", f"the weights {name} have changed")
            return _not_its_own(f"the file of weights {name}")
        return Freshness("unknown", f"the weights {name} are not here")

    def _weights_in(self, name: str, folders: tuple[Path, ...]) -> WeightsFile | Freshness | None:
        """Return what `model.weights` names; a path is taken from the first folder that has it."""
        key = repr((name, folders))
        if key not in self._weights:
            self._weights[key] = _current_weights(name, self.outputs, folders)
        return self._weights[key]

    def _folder(self, place: str | None, default: str) -> Path:
        """Return a folder that the run recorded, else the default of a command given here."""
        if place is None:
            return Path.cwd() / default
        return place_at(self.outputs, place)


def _check_core(summary: RunSummary) -> Freshness:
    """Compare the version of Augean's mathematics; a custom loop has its own, and no version."""
    if summary.core in (None, CORE):
        return FRESH
    reason = f"Augean's mathematics has changed (core {summary.core}, now {CORE})"
    return Freshness("yes", reason)


def describe_record(record: SweepRecord, check: FreshnessCheck) -> list[str]:
    """Return lines that say which of a sweep's runs are outdated, and how to train them anew."""
    counts: Counter[Freshness] = Counter()
    directories = {job.id: job.run for job in record.jobs}  # every run once
    for id_, directory in directories.items():
        try:
            summary = read_summary(runs_dir(check.outputs) / directory, id_)
        except AugeanError:
            # A damaged run counts as one that is not completed.
            continue
        if summary is not None:
            counts[check.check(summary)] += 1
    lines = []
    for finding, number in counts.items():
        if finding.outdated == "yes":
            lines.append(f"{number} outdated: {finding.reason} since")
    for name in changed_studies(record, check.outputs):
        lines.append(f"the row of {name} is outdated: another trial has won since")
    if lines:
        lines.append(f"to train them anew: {command_in(command_anew(record), check.outputs)}")
    for finding, number in counts.items():
        if finding.outdated == "unknown":
            verb = "is" if number == 1 else "are"
            lines.append(f"unknown whether {number} {verb} outdated: {finding.reason}")
    return lines


def changed_studies(record: SweepRecord, outputs: Path) -> list[str]:
    """Return the studies that have other winners than when the rows of a table were planned."""
    changed = []
    for name, trial_id in record.winners.items():
        try:
            best = read_record(record_path(outputs, name)).best_trial()
        except AugeanError:
            # A record that is damaged or gone says nothing of its winner.
            continue
        if best is not None and best.id != trial_id:
            changed.append(name)
    return changed


def command_anew(record: SweepRecord) -> str:
    """Return the command that trains the outdated runs of a sweep anew.

    A study has its trials already: others need another study.
    """
    if record.trials:
        return f"{record.command} hydra.sweeper.study_name={record.name}_anew"
    return record.command


def _combine(findings: Iterable[Freshness]) -> Freshness:
    """Return "yes" where something has changed, else "unknown" where something is not known."""
    reasons: dict[Outdated, list[str]] = {"no": [], "yes": [], "unknown": []}
    for finding in findings:
        if finding.reason not in reasons[finding.outdated]:
            reasons[finding.outdated].append(finding.reason)
    outcomes: tuple[Outdated, ...] = ("yes", "unknown")
    for outdated in outcomes:
        if reasons[outdated]:
            return Freshness(outdated, _first_reasons(reasons[outdated]))
    return FRESH


def _first_reasons(reasons: list[str]) -> str:
    """Return reasons as one text; of many only the first, and how many more there are."""
    num_more = len(reasons) - MAX_REASONS
    shown = reasons[:MAX_REASONS]
    if num_more > 0:
        shown.append(f"{num_more} more")
    return ", ".join(shown)


def _not_its_own(what: str) -> Freshness:
    """Return what is said of another content in a folder that the run did not record."""
    return Freshness("unknown", f"{what} is here, but it is not known to be that of the run")


def _data_name(node: Mapping[str, Any]) -> str:
    return f"the data of {node.get('dataset.name')}"


def _current_digest(node: Mapping[str, Any], data: Path, cache: Path) -> str | Freshness:
    """Return the digest of a data set as it is now, or why it is not known.

    Args:
        node: the entries of a flat config below `dataset`.
        data: folder of the data sets.
        cache: folder of what Augean has noted of the data sets.
    """
    name = _data_name(node)
    target = str(node.get("dataset._target_"))
    if not target.startswith(DATASETS):
        return Freshness("unknown", f"{name} is read by own code, {target}, which is not run here")
    arguments = {}
    for key, value in node.items():
        if key.startswith(ARGUMENTS):
            arguments[key.removeprefix(ARGUMENTS)] = value
    try:
        cls = find_class("dataset._target_", target, Source)  # type: ignore[type-abstract]
        source = cls(
            name=str(node.get("dataset.name")),
            root=data,
            cache=cache,
            image_size=node["dataset.image_size"],
            **arguments,
        )
        digest = source.known_digest()
    # A summary may hold any arguments, and a folder of images may be damaged in any way.
    except (AugeanError, OSError, TypeError, ValueError, KeyError, AttributeError):
        return Freshness("unknown", f"{name} is not here, or cannot be read")
    if digest is None:
        return Freshness("unknown", f"{name} is not here, or was not read since its last change")
    return digest


def _current_weights(
    name: str, outputs: Path, folders: Iterable[Path]
) -> WeightsFile | Freshness | None:
    """Return the file of `model.weights` as it is now, or why it is not known; None without one.

    Args:
        folders: folders from which a path may be given.
    """
    # The summary of a run has the digest: its weights themselves may be gone.
    if name.startswith(RUN):
        try:
            return weights_of_run(name, outputs)
        except AugeanError:
            return Freshness("unknown", f"the run of model.weights={name} is not here, or damaged")
    try:
        path = Path(name).expanduser()
        file = next(folder / path for folder in folders if (folder / path).is_file())
        if file.stat().st_size > LARGEST_WEIGHTS:
            return Freshness("unknown", f"the weights {name} are too large to be read for this")
        return weights_of_file(name, file)
    # A summary may hold any text, and no home folder may be known.
    except (AugeanError, OSError, RuntimeError, ValueError, StopIteration):
        return None


def _first_with(path: str, folders: Iterable[Path]) -> Path | None:
    """Return the first folder that has a file of this path."""
    for folder in folders:
        if (folder / path).is_file():
            return folder
    return None
