"""Read the text of an override without Hydra's parser."""

from collections.abc import Iterable


def override_key(text: str) -> str:
    """Return the key that an override sets or deletes: `seed` for `++seed=0,1`.

    `+` and `++` say how a value is put into the config, not where.
    """
    return text.lstrip("+~").partition("=")[0]


def outputs_override(words: Iterable[str]) -> str | None:
    """Return the folder that `runtime.outputs=<folder>` names; None where no override does.

    The last one counts. It may hold an interpolation, which Hydra alone can resolve.
    """
    folder = None
    for word in words:
        _, sign, value = word.partition("=")
        if sign and override_key(word) == "runtime.outputs":
            folder = value.strip("\"'")
    return folder
