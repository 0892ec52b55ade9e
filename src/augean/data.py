"""The import name of data sets for own code, see docs/extending.md.

It stays where it is: an own data set's `from augean.data import ...` is part of the digest of its
code, and so of the ids of its runs.
"""

from augean.datasets.base import Images, Source
from augean.datasets.split import stratified_split as split

__all__ = ["Images", "Source", "split"]
