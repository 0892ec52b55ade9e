"""Find the config groups and the sweep files."""

from pathlib import Path


def config_dir() -> Path:
    """Return the folder `conf`."""
    package = Path(__file__).parents[1]
    installed = package / "conf"
    if installed.is_dir():
        return installed
    return package.parents[1] / "conf"  # of a checkout, beside src


def sweeps_dir() -> Path:
    """Return the folder `sweeps`, beside `conf`."""
    return config_dir().with_name("sweeps")


def yaml_names(folder: Path) -> list[str]:
    """Return the names of the YAML files in a folder: options of a group, or sweeps."""
    return sorted(path.stem for path in folder.glob("*.yaml"))
