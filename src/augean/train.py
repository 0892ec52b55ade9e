"""Keep the import name of `compose` that custom loops for earlier versions use.

New ones use `augean.compose`.

It stays where it is: the import line of a custom loop is part of the digest of its code, and so of
the ids of its runs.
"""

from augean.config.compose import compose

__all__ = ["compose"]
