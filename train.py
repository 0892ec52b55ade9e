"""Train one run, a grid or a sweep file: `python train.py model=resnet18 activation=elu`.

The same as `augean train`.
"""

# Any Python can read this file, so that an old one can say what is wrong. Hydra's tab completion
# serves only files that contain "@hydra.main", which stands for the one in augean.hydra_main.
import sys

if sys.version_info < (3, 11):
    sys.exit(
        "Augean needs Python 3.11 or newer, this is "
        + sys.version.split()[0]
        + ": make setup PYTHON=python3.11"
    )
try:
    from augean.hydra_main import main
except KeyboardInterrupt:
    sys.exit(130)
except ModuleNotFoundError as error:
    sys.exit(
        str(error)
        + " in "
        + sys.executable
        + "; run `make setup`, then `source .venv/bin/activate`"
    )

if __name__ == "__main__":
    main()
