"""A damaged, cut, foreign or oversized archive is refused before anything is installed."""

import hashlib
import io
import json
import lzma
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from augean.errors import AugeanError
from augean.report import load_runs
from augean.store.archive.manifest import MANIFEST, MANIFEST_FORMAT
from augean.store.archive.members import Limits
from augean.store.archive.merge import MergedRun
from augean.store.archive.packing import pack, unpack
from conftest import ROOT
from fake_archives import flip_bit, read_archive, read_members, write_archive, write_tar
from fake_runs import contents, write_record, write_run

COMMITTED = ROOT / "results" / "reduced" / "runs.tar.xz"
MIB = 2**20


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small archive of a run, a record and a study."""
    folder = tmp_path_factory.mktemp("packed")
    job = write_run(folder / "outputs", files=False, epochs=2)
    write_record(folder / "outputs", "sweep", [job])
    (folder / "outputs" / "studies").mkdir()
    (folder / "outputs" / "studies" / "tune.journal").write_bytes(b"one\n")
    assert pack(folder / "outputs", folder / "runs.tar.xz") == []
    return folder / "runs.tar.xz"


@pytest.fixture(scope="module")
def packed_without_manifest(packed: Path) -> Path:
    return write_archive(packed.with_name("old.tar.xz"), read_archive(packed))


def refuse(archive: Path, match: str, limits: Limits | None = None) -> None:
    """Check that an archive is refused, and that nothing is left where it was to be unpacked."""
    target = archive.with_name("target")
    with pytest.raises(AugeanError, match=match) as refusal:
        unpack(archive, target, limits or Limits())
    assert str(archive) in str(refusal.value)
    assert contents(target) == {}
    assert list((target / "runs").iterdir()) == []


def check_flips(archive: Path, copy: Path, number: int) -> None:
    """Check that an archive is refused with any of `number` bits flipped, at even distances."""
    content = archive.read_bytes()
    num_bits = 8 * len(content)
    for index in range(number):
        copy.write_bytes(flip_bit(content, index * num_bits // number))
        refuse(copy, "nothing was changed")


@pytest.mark.parametrize("number", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_anywhere_is_noticed(number: int, packed: Path, tmp_path: Path) -> None:
    check_flips(packed, tmp_path / "flipped.tar.xz", number)


@pytest.mark.parametrize("number", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_noticed_without_a_manifest_too(
    number: int, packed_without_manifest: Path, tmp_path: Path
) -> None:
    check_flips(packed_without_manifest, tmp_path / "flipped.tar.xz", number)


def test_a_flipped_bit_that_hid_half_of_the_committed_runs_is_noticed(tmp_path: Path) -> None:
    archive = tmp_path / "flipped.tar.xz"
    archive.write_bytes(flip_bit(COMMITTED.read_bytes(), 8 * 123757 + 4))
    refuse(archive, "no archive of runs that can be read")


def test_an_archive_without_a_manifest_is_read_whole(tmp_path: Path) -> None:
    members = read_archive(COMMITTED)
    archive = write_archive(tmp_path / "old.tar.xz", members)
    target = tmp_path / "target"
    num_runs = sum(name.endswith("/config.yaml") for name in members)
    assert num_runs > 100
    assert unpack(archive, target).runs == {MergedRun.ADDED: num_runs}
    assert len(list(target.glob("sweeps/*.json"))) == sum(
        bool(re.fullmatch("sweeps/[^/]+[.]json", name)) for name in members
    )
    unpacked = {name: (target / name).read_bytes() for name in members}
    assert unpacked == members
    assert len(load_runs(target)) == num_runs


def test_the_manifest_comes_first_and_tells_sizes_and_digests(packed: Path) -> None:
    members = read_members(packed)
    assert next(iter(members)) == MANIFEST
    manifest = json.loads(members.pop(MANIFEST))
    expected = {}
    for name, content in members.items():
        digest = hashlib.sha256(content).hexdigest()
        expected[name] = {"size": len(content), "sha256": digest}
    assert manifest == {"format": MANIFEST_FORMAT, "members": expected}


@pytest.mark.parametrize(
    "rest", [b"\0", b"\0" * 4, b"rubbish", lzma.compress(b""), lzma.compress(b"more")]
)
def test_bytes_after_the_end_are_refused(rest: bytes, packed: Path, tmp_path: Path) -> None:
    archive = tmp_path / "longer.tar.xz"
    archive.write_bytes(packed.read_bytes() + rest)
    refuse(archive, "further bytes after its end")


@pytest.mark.parametrize("rest", [b"\1", b"\0" * 5000 + b"\1", b"\0" * 2 * MIB + b"\1"])
def test_bytes_after_the_end_of_the_tar_file_are_refused(
    rest: bytes, packed: Path, tmp_path: Path
) -> None:
    tar = lzma.decompress(packed.read_bytes())
    refuse(write_tar(tmp_path / "a.tar.xz", tar + rest), "bytes that belong to no file")


def test_a_tar_file_that_is_cut_is_refused(packed: Path, tmp_path: Path) -> None:
    tar = lzma.decompress(packed.read_bytes()).rstrip(b"\0")
    end = -(-len(tar) // 512) * 512  # where the last member and its padding end
    tar = tar.ljust(end, b"\0")
    for size in (0, 100, 512, 5000, end - 512, end - 1, end, end + 512):
        archive = write_tar(tmp_path / "cut.tar.xz", tar.ljust(size, b"\0")[:size])
        refuse(archive, "no archive of runs that can be read")
    archive = write_tar(tmp_path / "whole.tar.xz", tar.ljust(end + 1024, b"\0"))
    assert unpack(archive, tmp_path / "there").runs == {MergedRun.ADDED: 1}


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_bit_flipped_before_compression_alters_nothing_unnoticed(
    share: float, packed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Only the manifest can notice it. A few bits of a tar file's headers say nothing."""
    folder = tmp_path_factory.mktemp("flipped")
    tar = lzma.decompress(packed.read_bytes())
    archive = write_tar(folder / "a.tar.xz", flip_bit(tar, int(share * 8 * len(tar))))
    try:
        unpack(archive, folder / "target")
    except AugeanError:
        assert contents(folder / "target") == {}
    else:
        unpacked = {name: (folder / "target" / name).read_bytes() for name in read_archive(packed)}
        assert unpacked == read_archive(packed)


def rename_member(manifest: dict[str, Any]) -> None:
    manifest["members"]["sweeps/other.json"] = manifest["members"].pop("sweeps/sweep.json")


def drop_member(manifest: dict[str, Any]) -> None:
    del manifest["members"]["studies/tune.journal"]


def change_size(manifest: dict[str, Any]) -> None:
    manifest["members"]["studies/tune.journal"]["size"] += 1


def change_digest(manifest: dict[str, Any]) -> None:
    manifest["members"]["studies/tune.journal"]["sha256"] = "0" * 64


def add_key(manifest: dict[str, Any]) -> None:
    manifest["members"]["studies/tune.journal"]["mode"] = 0


def damage_entry(manifest: dict[str, Any]) -> None:
    manifest["members"]["studies/tune.journal"] = 4


def damage_members(manifest: dict[str, Any]) -> None:
    manifest["members"] = []


def raise_format(manifest: dict[str, Any]) -> None:
    manifest["format"] = 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename_member, "'sweeps/other.json' is missing from it"),
        (drop_member, r"studies/tune\.journal is not in its manifest"),
        (change_size, r"studies/tune\.journal was altered"),
        (change_digest, r"studies/tune\.journal was altered"),
        (add_key, r"damaged manifest\.json, at 'studies/tune\.journal'"),
        (damage_entry, r"damaged manifest\.json, at 'studies/tune\.journal'"),
        (damage_members, r"damaged manifest\.json"),
        (raise_format, "is of format 2, this Augean reads 1; update"),
    ],
)
def test_an_archive_that_differs_from_its_manifest_is_refused(
    change: Callable[[dict[str, Any]], None], message: str, packed: Path, tmp_path: Path
) -> None:
    members = read_members(packed)
    manifest = json.loads(members[MANIFEST])
    change(manifest)
    members[MANIFEST] = json.dumps(manifest).encode()
    refuse(write_archive(tmp_path / "a.tar.xz", members), message)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_no_manifest_is_refused(
    content: bytes, packed: Path, tmp_path: Path
) -> None:
    members = {**read_members(packed), MANIFEST: content}
    refuse(write_archive(tmp_path / "a.tar.xz", members), "nothing was changed")


def test_a_manifest_elsewhere_than_first_is_refused(packed: Path, tmp_path: Path) -> None:
    members = read_members(packed)
    members[MANIFEST] = members.pop(MANIFEST)
    refuse(write_archive(tmp_path / "a.tar.xz", members), "'manifest.json', which no `augean pack`")
    twice = [*read_members(packed).items()]
    twice.insert(0, twice[0])
    refuse(write_archive(tmp_path / "a.tar.xz", twice), "'manifest.json', which no `augean pack`")


def test_a_file_that_comes_twice_is_refused(packed: Path, tmp_path: Path) -> None:
    members = [*read_archive(packed).items()]
    archive = write_archive(tmp_path / "a.tar.xz", [*members, members[0]])
    refuse(archive, f"holds {members[0][0]} twice")


def journals(number: int, size: int) -> dict[str, bytes]:
    return {f"studies/s{index}.journal": b" " * size for index in range(number)}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(members=19), "more than 19 files or 2,048 MiB"),
        (Limits(total_bytes=20 * MIB - 1, members=100), "more than 100 files or 20 MiB"),
        # The tar file alone is larger than all that it may hold, so that no member is looked at.
        (Limits(total_bytes=MIB, manifest_bytes=MIB, members=100), "more than 100 files or 1 MiB"),
    ],
)
def test_an_archive_of_too_many_files_or_bytes_is_refused(
    limits: Limits, message: str, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path / "bomb.tar.xz", journals(20, MIB))
    assert archive.stat().st_size < 20_000
    refuse(archive, message, limits)
    enough = Limits(members=20, total_bytes=20 * MIB, member_bytes=MIB)
    assert unpack(archive, tmp_path / "there", enough).remarks == []


def test_what_is_too_much_for_unpack_is_not_packed(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar.xz", journals(20, 100))
    unpack(tmp_path / "a.tar.xz", tmp_path / "outputs")
    for limits in (Limits(members=19), Limits(total_bytes=1999), Limits(manifest_bytes=2000)):
        with pytest.raises(AugeanError, match="too much for one archive"):
            pack(tmp_path / "outputs", tmp_path / "b.tar.xz", limits)
    assert not (tmp_path / "b.tar.xz").exists()
    pack(tmp_path / "outputs", tmp_path / "b.tar.xz", Limits(members=20, total_bytes=2000))
    limits = Limits(members=20, total_bytes=2000, member_bytes=100)
    assert unpack(tmp_path / "b.tar.xz", tmp_path / "there", limits).remarks == []


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return one block of a tar file, whose size is only a claim."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.type = kind
    return info.tobuf(tarfile.GNU_FORMAT)


SPARSE = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"


@pytest.mark.parametrize(
    ("tar", "message"),
    [
        (header("studies/s.journal", 2**40), r"studies/s\.journal has 1,048,576 MiB"),
        (header("studies/s.journal", -512), r"studies/s\.journal has a size of -512 bytes"),
        (header("manifest.json", 2**40), r"manifest\.json has 1,048,576 MiB"),
        (header("manifest.json", -1), r"manifest\.json has a size of -1 bytes"),
        (header("x", 2**33, tarfile.XHDTYPE), "has a header of 8,589,934,592 bytes"),
        (header("x", -1, tarfile.XHDTYPE), "has a header of -1 bytes"),
        (header("x", 600, tarfile.GNUTYPE_LONGNAME) + b"a" * 1024, "no `augean pack` writes"),
        (header("studies/s.journal", 9, tarfile.GNUTYPE_SPARSE), "no `augean pack` writes"),
        (
            header("x", len(SPARSE), tarfile.XHDTYPE) + SPARSE.ljust(512, b"\0"),
            "no `augean pack` writes",
        ),
        (header("x", 9, tarfile.XHDTYPE) + b"9 path=a\n".ljust(512, b"\0"), "can be read"),
        (header("x", 9, tarfile.XHDTYPE) + b"x path=a\n".ljust(512, b"\0"), "can be read"),
        (header("x", 9, tarfile.XHDTYPE) + b"8 path=a\n".ljust(512, b"\0"), "no `augean pack`"),
        (b"rubbish".ljust(512, b"\1"), "no archive of runs that can be read"),
    ],
)
def test_headers_that_pack_does_not_write_are_refused(
    tar: bytes, message: str, tmp_path: Path
) -> None:
    refuse(write_tar(tmp_path / "evil.tar.xz", tar + b"\0" * 1024), message)


def test_a_run_with_a_long_name_comes_through(tmp_path: Path) -> None:
    long = f"runs/{'long-' * 40}0123456789/metrics.csv"
    write_archive(tmp_path / "a.tar.xz", {long: b"epoch\n"})
    assert unpack(tmp_path / "a.tar.xz", tmp_path / "there").runs == {MergedRun.ADDED: 1}
    assert (tmp_path / "there" / long).read_bytes() == b"epoch\n"
    pack(tmp_path / "there", tmp_path / "b.tar.xz")
    assert read_archive(tmp_path / "b.tar.xz") == {long: b"epoch\n"}


@pytest.mark.parametrize("kind", ["gzip", "plain", "folder", "pipe", "absent"])
def test_what_is_not_an_xz_file_is_refused(kind: str, packed: Path, tmp_path: Path) -> None:
    path = tmp_path / "runs.tar.xz"
    if kind == "gzip":
        with tarfile.open(path, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("studies/s.journal"), io.BytesIO())
    elif kind == "plain":
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    refuse(path, "no archive of runs that can be read")
