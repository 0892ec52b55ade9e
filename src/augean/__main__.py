"""`python -m augean` is the command `augean`."""

from augean.cli.main import main

if __name__ == "__main__":
    main()
