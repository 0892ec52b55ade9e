"""What Augean uses of Hydra beyond its public interface: all of it, by name, and where."""

import ast
import dataclasses
from importlib import import_module
from pathlib import Path

from hydra.core.utils import JobReturn

from conftest import ROOT

PRIVATE = (
    "hydra._internal.config_loader_impl.ConfigLoaderImpl._apply_overrides_to_config",
    "hydra._internal.config_repository.ConfigRepository.group_exists",
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.hydra.Hydra.create_main_hydra2",
    "hydra._internal.utils.create_config_search_path",
    "hydra._internal.utils.get_args_parser",
    "hydra.core.config_loader.ConfigLoader.load_sweep_config",
    "hydra.core.override_parser.overrides_parser.OverridesParser.parse_overrides",
    "hydra.core.override_parser.types.Override.get_key_element",
    "hydra.core.override_parser.types.Override.is_list_extend",
    "hydra.core.override_parser.types.Override.sweep_iterator",
    "hydra.core.override_parser.types.Override.sweep_string_iterator",
    "hydra.core.plugins.Plugins.instantiate_launcher",
    "hydra.core.plugins.Plugins.register",
    "hydra_plugins.hydra_optuna_sweeper._impl.create_optuna_distribution_from_override",
)
"""Functions and classes; none of them is in Hydra's documentation for users."""
USERS = {"sweeps/composition.py", "config/command_line.py"}
"""Files that may use them. The second has Hydra's parser of options, as a single run, which loads
nothing of `augean.sweeps`, needs it too."""


def find_missing(name: str) -> str | None:
    """Return the first part of a dotted name that is not there."""
    words = name.split(".")
    value: object = import_module(words[0])
    for number, word in enumerate(words[1:], start=2):
        path = ".".join(words[:number])
        if not hasattr(value, word):
            try:
                import_module(path)
            except ImportError:
                return path
        value = getattr(value, word)
    return None


def imported_modules(path: Path) -> set[str]:
    """List the modules that a file imports from, those within functions included."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


def test_each_private_name_of_hydra_is_where_it_was() -> None:
    missing = [name for name in map(find_missing, PRIVATE) if name is not None]
    # A field of a dataclass, which is an attribute of instances alone.
    fields = {field.name for field in dataclasses.fields(JobReturn)}
    if "_return_value" not in fields:
        missing.append("hydra.core.utils.JobReturn._return_value")
    assert not missing, "this release of Hydra, or of its Optuna sweeper, lacks: " + str(missing)


def test_private_modules_of_hydra_are_imported_in_few_files() -> None:
    sources = ROOT / "src" / "augean"
    users = set()
    for path in sources.rglob("*.py"):
        modules = imported_modules(path)
        if any(name.startswith(("hydra._", "hydra_plugins")) for name in modules):
            users.add(path.relative_to(sources).as_posix())
    assert users == USERS
