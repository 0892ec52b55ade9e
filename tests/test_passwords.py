"""Passwords in what a user types never come back."""

import shlex
from pathlib import Path

import pytest

from augean.config.schema import CLASS_NODES
from augean.passwords import (
    command_without_passwords,
    find_passwords,
    hide_passwords,
    without_passwords,
)
from augean.store.sweep_record import SweepRecord, read_record

STORAGE = "hydra.sweeper.storage="


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("postgresql+psycopg://me:secret@host/db", "postgresql+psycopg://me:***@host/db"),
        ("postgresql://me:two words@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:p@ss:w/rd@host/db", "postgresql://me:***@host/db"),
        ("postgresql://:secret@host/db", "postgresql://:***@host/db"),
        ("postgresql://host/db?user=me&password=x", "postgresql://host/db?user=me&password=***"),
        ("mysql://host/db?passwd=a,b c&ssl=1", "mysql://host/db?passwd=***&ssl=1"),
        ('"postgresql://host/db?password=x"', '"postgresql://host/db?password=***"'),
        ("postgresql://me:one@h/db?password=two", "postgresql://me:***@h/db?password=***"),
        ("+hydra.job.env_set.PGPASSWORD=x", "+hydra.job.env_set.PGPASSWORD=***"),
        ("hydra.job.env_set={PGPASSWORD:x}", "hydra.job.env_set={PGPASSWORD:***}"),
        # nothing to hide
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////tmp/studies.db", "sqlite:////tmp/studies.db"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        # The command still works as printed.
        ("postgresql://me:${oc.env:PW}@host/db", "postgresql://me:${oc.env:PW}@host/db"),
        ("seed=0,1", "seed=0,1"),
    ],
)
def test_a_word_is_shown_without_its_passwords(word: str, shown: str) -> None:
    assert without_passwords(STORAGE + word) == STORAGE + shown
    for password in find_passwords(word):
        assert password not in shown.replace("***", "")


@pytest.mark.parametrize("node", CLASS_NODES)
@pytest.mark.parametrize(
    "word",
    [
        "{}.arguments.cls_token=true,false",
        "+{}.arguments.head.api_key=choice(1,2)",
        "hydra.sweeper.params.{}.arguments.cls_token='true,false'",
        "hydra.sweeper.ablate={{{}.arguments.cls_token:[true,false]}}",
        "{}.arguments={{depth:2,cls_token:true}}",
    ],
)
def test_arguments_of_classes_are_no_passwords(node: str, word: str) -> None:
    word = word.format(node)
    assert without_passwords(word) == word
    assert hide_passwords(f"{word}: true is not 1", [word]) == f"{word}: true is not 1"
    # The recorded command can be given again; the password of another word is hidden all the same.
    storage = f"{STORAGE}postgresql://h/d?password="
    command = shlex.join(["augean", "train", "-m", word])
    assert command_without_passwords(command) == command
    shown = command_without_passwords(f"{command} '{storage}x'")
    assert shlex.split(shown)[3:] == [word, f"{storage}***"]


def test_a_url_in_an_argument_of_a_class_is_shown_without_its_password() -> None:
    word = "dataset.arguments.url=postgresql://me:secret@host/db?password="
    assert without_passwords(word + "x") == word.replace("secret", "***") + "***"


def test_a_message_that_quotes_a_password_is_shown_without_it() -> None:
    url = "postgresql://me:p%40ss word@host/db?sslpassword=x"
    message = f"cannot read {url}: no user 'me' with p@ss word, x; host is exact"
    shown = hide_passwords(message, ["-m", url])
    assert shown == (
        "cannot read postgresql://me:***@host/db?sslpassword=***: no user 'me' with ***, ***;"
        " host is exact"
    )


def test_a_record_that_has_a_password_is_read_without_it(tmp_path: Path) -> None:
    command = "python train.py -m seed=0,1 'hydra.sweeper.storage=postgresql://h/d?password=two w'"
    record = SweepRecord(name="old", title="Old", command=command, created="now", jobs=[])
    shown = read_record(record.write(tmp_path)).command
    assert shown == command.replace("two w", "***")
