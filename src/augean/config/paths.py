"""Where the config groups and the sweep files lie."""

from pathlib import Path


def config_dir() -> Path:
    """The folder `conf`: beside the sources in a checkout, inside the package in an installed
    wheel.
    """
    package = Path(__file__).parents[1]
    return package / "conf" if (package / "conf").is_dir() else package.parents[1] / "conf"


def sweeps_dir() -> Path:
    """The folder `sweeps`, beside `conf`."""
    return config_dir().with_name("sweeps")


def yaml_names(folder: Path) -> list[str]:
    """Names of the YAML files in a folder: options of a group, or sweeps."""
    return sorted(path.stem for path in folder.glob("*.yaml"))
