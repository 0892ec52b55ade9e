"""The import name of data sets for a user's own code, see docs/how-to/extending.md.

It stays where it is: the line `from augean.data import ...` is part of the digest of that code, and
so of the ids of its runs.
"""

from augean.datasets.base import Images, Source
from augean.datasets.split import stratified_split as split

__all__ = ["Images", "Source", "split"]
