"""Write and read `summary.json`, which is written last: it exists if and only if a run is finished
or diverged.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augean.errors import AugeanError
from augean.store.files import content_digest, file_sha256, write_atomic

DIGESTED_FILES = (
    "config.yaml",
    "metrics.csv",
    "model.json",
    "confusion.csv",
    "steps.npy",
    "probe.csv",
    "best.pt",
)
"""Files whose sha256 the summary holds."""


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json with the digests of the run's other files and, last, of the summary
    itself.
    """
    files = {name: file_sha256(path / name) for name in DIGESTED_FILES if (path / name).exists()}
    content = {**summary, "files": files}
    content["sha256"] = content_digest(content)
    write_atomic(path / "summary.json", json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_summary(path: Path, identity: str | None = None) -> dict[str, Any] | None:
    """The summary of a finished or diverged run; None while there is none.

    Args:
        identity: the run that it must be of, as a directory may have been copied over another's.

    Raises:
        AugeanError: when the file cannot be read, is no summary, is another run's, or was altered
            after it was written.
    """
    file = path / "summary.json"
    try:
        text = file.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (
        OSError,
        ValueError,
    ) as error:  # the second for bytes that are no text, and for a path that is none
        raise AugeanError(f"{file}: cannot be read ({error})") from error
    try:
        summary = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AugeanError(f"{file}: no valid JSON ({error})") from error
    if not isinstance(summary, dict) or not isinstance(summary.get("config"), dict):
        raise AugeanError(f"{file}: not the summary of a run")
    if summary.get("sha256") != content_digest(summary):
        raise AugeanError(f"{file}: was altered or damaged after it was written")
    known = summary.get("status") in ("finished", "diverged") and isinstance(summary.get("id"), str)
    mappings = (summary.get("files"), summary.get("diverged") or {}, summary.get("versions") or {})
    if not known or not all(isinstance(item, dict) for item in mappings):
        raise AugeanError(
            f"{file}: not the summary of a run: id, status or files are absent or unknown"
        )
    if identity not in (None, summary["id"]):
        raise AugeanError(f"{file}: is the summary of run {summary['id']}, not of {identity}")
    return summary
