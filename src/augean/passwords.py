"""Keep passwords out of records, messages and reports."""

import re
import shlex
from collections.abc import Iterable
from urllib.parse import unquote

HIDDEN = "***"
"""What is shown in place of a password."""
# Both reach to the end of a word: a password may hold blanks, commas and signs.
_PATTERNS = (
    # scheme://user:password@host, up to the last @
    re.compile(r"://[^\s:/@?]*:(?P<password>.+)@", re.DOTALL),
    # ?user=me&password=..., env_set.PGPASSWORD=..., env_set={PGPASSWORD:...}. Arguments of classes,
    # such as cls_token, hold no password, as the run's config repeats them; they match without one.
    re.compile(
        r"(?i)\b(?:model|activation|optimizer|dataset)\.arguments(?:\.[^\s=:]+|=\{[^{}]*\})"
        r"|(?:password|passwd|pwd|secret|token|api_?key)[\"']?[=:]\s*"
        r"(?P<password>[^&]+?)(?=[\"'}]*$|&)"
    ),
)
_INTERPOLATION = re.compile(r"\$\{[^{}]*\}")
"""Names where a password is, such as `${oc.env:PGPASSWORD}`, and holds none."""


def find_passwords(word: str) -> list[str]:
    """Return the passwords in a word of a command line, or in a URL."""
    passwords = []
    for pattern in _PATTERNS:
        for match in pattern.finditer(word):
            password = match["password"]
            if password is not None and not _INTERPOLATION.fullmatch(password):
                passwords.append(password)
    return passwords


def without_passwords(word: str) -> str:
    """Return a word of a command line with `***` in place of its passwords."""
    for pattern in _PATTERNS:
        word = pattern.sub(_hide, word)
    return word


def _hide(match: re.Match[str]) -> str:
    """Return the text of a match with `***` in place of its group `password`."""
    if match["password"] is None or _INTERPOLATION.fullmatch(match["password"]):
        return match[0]
    # Positions within the match, not within the word.
    start = match.start("password") - match.start()
    end = match.end("password") - match.start()
    return match[0][:start] + HIDDEN + match[0][end:]


def command_without_passwords(command: str) -> str:
    """Return a whole command line, as for a shell, without its passwords."""
    # The usual command stays as it was typed: splitting and joining could change its quotes.
    if not find_passwords(command):
        return command
    try:
        words = shlex.split(command)
    except ValueError:  # quotes that are not closed: hide whatever looks like a password
        return without_passwords(command)
    return shlex.join(without_passwords(word) for word in words)


def hide_passwords(text: str, words: Iterable[str]) -> str:
    """Return a message without the passwords that the words hold.

    Args:
        words: of the command line, or a URL.
    """
    for word in words:
        text = text.replace(word, without_passwords(word))
        # A message of a library may quote the password alone, with or without the escapes (%40) of
        # a URL.
        for password in find_passwords(word):
            for form in {password, unquote(password)}:
                # Not inside other words: a password may be as short as one letter.
                text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", HIDDEN, text)
    return text
