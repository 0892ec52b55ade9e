"""The manifest of an archive: its first member, with the size and sha256 of every other member.

Archives from before format 1 have no manifest.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from augean.regular_files import parse_json
from augean.store.archive.members import RefusedError

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The size and digest of one member of an archive."""

    size: int
    """Bytes."""
    sha256: str


def write_manifest(entries: Mapping[str, Entry]) -> bytes:
    """Return the content of manifest.json: the same bytes for the same members.

    Args:
        entries: by the names of the members.
    """
    members = {name: asdict(entry) for name, entry in entries.items()}
    manifest = {"format": MANIFEST_FORMAT, "members": members}
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()


def read_manifest(content: bytes) -> dict[str, Entry]:
    """Return the entries of a manifest, by the names of the members.

    Raises:
        RefusedError: when the content is not a manifest of this format.
        ValueError: when it is not JSON.
    """
    manifest: Any = parse_json(content)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("members"), dict):
        raise RefusedError(f"has a damaged {MANIFEST}")
    if manifest.get("format") != MANIFEST_FORMAT:
        raise RefusedError(
            f"is of format {manifest.get('format')!r}, this Augean reads {MANIFEST_FORMAT}; update"
            " Augean, or pack the runs again with this one"
        )
    entries = {}
    for name, value in manifest["members"].items():
        try:
            # Other keys, or a value that is not a mapping, raise TypeError. Values of a wrong type
            # differ from the member's entry, and are found when the two are compared.
            entries[name] = Entry(**value)
        except TypeError as error:
            raise RefusedError(f"has a damaged {MANIFEST}, at {name!r}") from error
    return entries


def compare_with_manifest(manifest: Mapping[str, Entry], entries: Mapping[str, Entry]) -> None:
    """Check that an archive holds what its manifest says.

    Args:
        manifest: the entries that the manifest holds.
        entries: those of the members that were read.

    Raises:
        RefusedError: names the first member that is missing, altered or not in the manifest.
    """
    for name in sorted(manifest.keys() | entries.keys()):
        if name not in entries:
            raise RefusedError(f"{name!r} is missing from it")
        if name not in manifest:
            raise RefusedError(f"{name} is not in its {MANIFEST}")
        if manifest[name] != entries[name]:
            raise RefusedError(f"{name} was altered since it was packed")
