"""Keep the import name of `compose` that custom loops for earlier versions use.

New ones use `augean.compose`.

It stays where it is: the import line of a custom loop is part of the digest of its code, and so of
the ids of its runs. `python -m augean.train` trains, like `augean train`.
"""

from augean.config.compose import compose
from augean.hydra_main import main

__all__ = ["compose", "main"]

if __name__ == "__main__":
    main()
