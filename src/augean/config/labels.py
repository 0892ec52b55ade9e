"""Write config values as rows of a table."""

from typing import Any


def row_label(value: Any) -> str:
    """Return a config value as a table row: `0.0001` for 1e-4, `0` for 0.0."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        try:
            return f"{float(value):g}"
        except ValueError:
            return value
    return str(value)
