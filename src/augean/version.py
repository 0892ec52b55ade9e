"""The version of the installed package."""

import importlib.metadata


def version() -> str:
    """Return the version of the installed distribution, `sources` where there is none."""
    try:
        return importlib.metadata.version("augean")
    except importlib.metadata.PackageNotFoundError:
        return "sources"
