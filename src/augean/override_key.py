"""Read the text of an override without Hydra's parser."""


def override_key(text: str) -> str:
    """Return the key that an override sets or deletes: `seed` for `++seed=0,1`.

    `+` and `++` say how a value is put into the config, not where.
    """
    return text.lstrip("+~").partition("=")[0]
