"""Packages that come with an extra of Augean's installation."""

import importlib.util

from augean.errors import SetupError


def require(*packages: str, extra: str) -> None:
    """Make sure that packages are installed, without importing them.

    Raises:
        SetupError: with the line that installs them.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise SetupError(f"{', '.join(missing)}: not installed; install it with: pip install 'augean[{extra}]'")
