"""Digests of the code that a config names, from its syntax trees."""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from augean.config.schema import TRUSTED_PACKAGES
from augean.errors import ConfigError


@lru_cache(maxsize=256)
def module_digest(module: str) -> str:
    """Digest of a module's code, and of what it imports from beside it, see `file_digest`.

    Raises:
        ConfigError: when the module has no Python source that can be found.
    """
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"_target_: cannot find module {module}: {error}") from error
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"_target_: cannot find the Python source of module {module}; is its package on the"
            " path?"
        )
    depth = module.count(".") + (spec.submodule_search_locations is not None)
    return file_digest(Path(spec.origin), Path(spec.origin).parents[depth])


def file_digest(path: Path, root: Path) -> str:
    """Digest of the syntax tree of a file and of all that it imports from `root`, however
    indirectly.

    Comments, docstrings and formatting do not count. Below an installation's site-packages only the
    file's own package counts; what is imported by a name made at run time is not seen.

    Args:
        root: the folder on Python's path from which the file is imported.

    Raises:
        ConfigError: when a file is no valid Python.
    """
    package, installed = (
        path.relative_to(root).parts[0],
        root.name in ("site-packages", "dist-packages"),
    )
    dumps, pending = dict[Path, str](), [path]
    while pending:
        file = pending.pop()
        top = file.relative_to(root).parts[0].removesuffix(".py")
        if file in dumps or top in TRUSTED_PACKAGES or (installed and top != package):
            continue
        try:
            tree = ast.parse(file.read_bytes(), filename=str(file))
        except SyntaxError as error:
            raise ConfigError(f"_target_: {file} is no valid Python: {error}") from error
        pending += _imported(file, tree, root)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and _is_docstring(body[0]):
                del body[0]
        dumps[file] = _dump(tree)
    others = [
        f"\n{file.relative_to(root).as_posix()}\n{dumps[file]}"
        for file in sorted(dumps)
        if file != path
    ]
    return hashlib.sha256("".join([dumps[path], *others]).encode()).hexdigest()[:16]


def _imported(file: Path, tree: ast.AST, root: Path) -> Iterator[Path]:
    """The files below `root` that a file's import statements name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            places = [root.joinpath(*alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (file.parents[node.level - 1] if node.level else root).joinpath(
                *(node.module or "").split(".")
            )
            places = [base, *(base / alias.name for alias in node.names)]
        else:
            continue
        for path in (
            path for place in places for path in (Path(f"{place}.py"), place / "__init__.py")
        ):
            if path.is_relative_to(root) and path.is_file():
                yield path


def _dump(node: Any) -> str:
    """Like `ast.dump`, but the same on every Python: that one changes with the fields that releases
    add.
    """
    if isinstance(node, ast.AST):
        parts = [
            f"{name}={_dump(value)}"
            for name, value in ast.iter_fields(node)
            if value not in (None, [])
        ]
        return f"{type(node).__name__}({','.join(parts)})"
    return f"[{','.join(map(_dump, node))}]" if isinstance(node, list) else repr(node)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
