"""Set the library of the page's charts into the page; without it the page has none.

The charts of all runs are drawn by Bokeh, which an extra brings: pip install 'augean[explore]'. Its
JavaScript is taken from the installed package, so that the page needs no network.
"""

import base64
import gzip
from functools import cache

SCRIPTS = ("bokeh.min.js", "bokeh-api.min.js")
"""Files of the package: the library, and its functions for making charts in JavaScript."""


@cache
def chart_library() -> str:
    """Return the library as gzip in base64, a third of its size; "" where it is not installed."""
    try:
        from bokeh.util.paths import static_path
    except ImportError:
        return ""
    folder = static_path() / "js"
    try:
        texts = [(folder / name).read_text(encoding="utf-8") for name in SCRIPTS]
    except OSError:
        # Another release, whose files have other names.
        return ""
    # Without the time, so that the same report gives the same page.
    compressed = gzip.compress("\n".join(texts).encode(), mtime=0)
    return base64.b64encode(compressed).decode()
