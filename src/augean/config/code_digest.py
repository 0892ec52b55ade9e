"""Compute digests of the code that a config names, from its syntax trees."""

import ast
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from augean.config.instantiate import running_own_code
from augean.config.schema import TRUSTED_PACKAGES
from augean.errors import ConfigError
from augean.regular_files import DATA_BYTES, read_regular

LARGEST_FILE = 16 * 2**20
"""Bytes of a file of code that is compared: a stranger's summary could name any file."""
DIGITS = 16
"""Length of each digest: the first hex digits of a sha256."""


@dataclass(frozen=True)
class OwnCode:
    """Code from outside Augean that a run depends on."""

    digest: str
    """Digest of all its files together; part of the run id."""
    files: Mapping[str, str]
    """Digest of each file, by its path from the folder on Python's path."""


@lru_cache(maxsize=256)
def module_code(module: str) -> OwnCode:
    """Return the digests of a module and of what it imports from its own folder.

    See `file_code` for what counts.

    Raises:
        ConfigError: when the Python source of the module cannot be found.
    """
    # It imports the packages around the module, which runs their code.
    with running_own_code(f"_target_: cannot find module {module}"):
        spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise ConfigError(
            f"_target_: cannot find the Python source of module {module}; is its package on the"
            " path?"
        )
    path = Path(spec.origin)
    is_package = spec.submodule_search_locations is not None
    # The root is as many folders above the file as the name has dots. The source of a package is
    # its __init__.py, one folder further down.
    depth = module.count(".") + int(is_package)
    return file_code(path, path.parents[depth])


def file_code(path: Path, root: Path) -> OwnCode:
    """Return the digests of a file and of all files that it imports from `root`.

    Digests are of syntax trees, so comments, docstrings and formatting do not count. Imports of
    imports do, and so do the packages on the way to each file. In site-packages only the file's own
    package counts. Imports by a name that is computed at run time, as with
    `importlib.import_module(name)`, are not found.

    Args:
        root: the folder on Python's path from which the file is imported.

    Raises:
        ConfigError: when a file is not valid Python.
    """
    package = _top(path, root)
    # Follow imports from file to file; `dumps` has the syntax tree of each file as text.
    dumps: dict[Path, str] = {}
    pending = [path]
    while pending:
        file = pending.pop()
        if file in dumps:
            continue
        # Trusted packages are identified by their version or by CORE. Installed dependencies of
        # the file's package do not count either.
        top = _top(file, root)
        if top in TRUSTED_PACKAGES or (is_installed(root) and top != package):
            continue
        tree = _parse(file)
        pending += _imported_files(file, tree, root)
        pending += package_files(file, root)
        dumps[file] = _code_text(tree)
    # One digest for each file, by which a report finds the file that was edited.
    files = {}
    for file in sorted(dumps):
        files[file.relative_to(root).as_posix()] = _digest(dumps[file])
    # One digest for all of them, for the run id. The file itself comes first and without its path,
    # so that renaming it changes no id.
    text = dumps.pop(path)
    for file in sorted(dumps):
        text += f"\n{file.relative_to(root).as_posix()}\n{dumps[file]}"
    return OwnCode(digest=_digest(text), files=files)


def is_installed(folder: Path) -> bool:
    """Return whether a folder on Python's path holds installed packages, which nobody edits."""
    return folder.name in ("site-packages", "dist-packages")


def _top(file: Path, root: Path) -> str:
    """Return the name of a file's package; that of the module for a file outside of packages."""
    return file.relative_to(root).parts[0].removesuffix(".py")


def source_digest(file: Path) -> str:
    """Return the digest of one Python file, as `OwnCode.files` has it.

    Raises:
        ConfigError: when it is not valid Python.
    """
    return _digest(_code_text(_parse(file)))


def file_digest(file: Path) -> str:
    """Return the digest of a file of any kind, as a run records it for its `code_files`."""
    return hashlib.sha256(read_regular(file, DATA_BYTES)).hexdigest()[:DIGITS]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _code_text(tree: ast.Module) -> str:
    """Return a syntax tree without its docstrings as text; they are removed from the tree."""
    _remove_docstrings(tree)
    return _dump(tree)


def _parse(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise ConfigError(f"_target_: {file} is not valid Python: {error}") from error


def _imported_files(file: Path, tree: ast.AST, root: Path) -> Iterator[Path]:
    """Yield the files below `root` that a file's import statements name."""
    for node in ast.walk(tree):
        for place in _imported_places(file, node, root):
            # A module is a file, or a folder with an __init__.py.
            for path in (Path(f"{place}.py"), place / "__init__.py"):
                if path.is_relative_to(root) and path.is_file():
                    yield path


def package_files(file: Path, root: Path) -> Iterator[Path]:
    """Yield the `__init__.py` files that Python runs before a file, except those without code.

    Raises:
        ConfigError: when one is not valid Python.
    """
    for folder in file.parents:
        if folder == root or not folder.is_relative_to(root):
            return
        path = folder / "__init__.py"
        if path.is_file():
            tree = _parse(path)
            _remove_docstrings(tree)
            # Adding an empty __init__.py, or one with a docstring only, must not change the run id.
            if tree.body:
                yield path


def _imported_places(file: Path, node: ast.AST, root: Path) -> list[Path]:
    """Return where the modules of an import statement would lie, without suffix."""
    if isinstance(node, ast.Import):
        return [root.joinpath(*alias.name.split(".")) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        # `level` is the number of dots: 0 for an absolute import, 1 for the file's own folder.
        start = file.parents[node.level - 1] if node.level else root
        # `from . import name` names no module: the empty text joins nothing.
        base = start.joinpath(*(node.module or "").split("."))
        # `from package import name`: the name may be a module of the package.
        return [base, *(base / alias.name for alias in node.names)]
    return []


def _remove_docstrings(tree: ast.AST) -> None:
    # Modules, classes and functions have a body, and so have `if` and `for`: a text that begins one
    # of those does nothing either.
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]


def _is_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


def _dump(node: Any) -> str:
    """Return a syntax tree as text, without fields that have no value.

    `ast.dump` is not used, as new releases of Python add fields to it: the same code would get
    another digest.
    """
    if isinstance(node, ast.AST):
        parts = []
        for name, value in ast.iter_fields(node):
            if value not in (None, []):
                parts.append(f"{name}={_dump(value)}")
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return f"[{','.join(map(_dump, node))}]"
    return repr(node)


class CodeFiles:
    """Compare files of code with their recorded digests, reading each file once."""

    def __init__(self) -> None:
        self._digests: dict[tuple[Path, bool], str] = {}
        """By file, and whether its whole content counts."""
        self._top_folders: dict[str, Path | None] = {}
        """By top package or module, the folder on Python's path that has it."""

    def find_changes(
        self, path: str, folder: Path, recorded: Mapping[str, str], listed: set[str]
    ) -> Iterator[str]:
        """Yield what has changed of a file; nothing where it is the same.

        Args:
            path: of the file, from `folder`.
            recorded: digest of each file of the code by its path.
            listed: those of them that the config names as `code_files`.

        Raises:
            OSError, ValueError, RecursionError: when the file cannot be read.
        """
        digest = recorded[path]
        file = folder / path
        try:
            if file.stat().st_size > LARGEST_FILE:
                raise OSError("is too large")
            # A listed file may be recorded by its content, or as code, where it is imported too.
            is_same = path in listed and self._digest(file, is_content=True) == digest
            if not is_same and file.suffix == ".py":
                is_same = self._digest(file, is_content=False) == digest
                # An __init__.py that was empty then is not recorded; Python runs it all the same.
                for package in package_files(file, folder):
                    name = package.relative_to(folder).as_posix()
                    if name not in recorded:
                        yield f"{name} has code now"
        except ConfigError:
            # It is no valid Python now, which it was when the run was trained.
            is_same = False
        if not is_same:
            yield f"{path} has changed"

    def _digest(self, file: Path, *, is_content: bool) -> str:
        key = (file, is_content)
        if key not in self._digests:
            self._digests[key] = file_digest(file) if is_content else source_digest(file)
        return self._digests[key]

    def folder_on_path(self, path: str) -> Path | None:
        """Return the folder on Python's path that has the package or module of a file."""
        top = top_name(path).removesuffix(".py")
        if top not in self._top_folders:
            self._top_folders[top] = _folder_on_path(top)
        return self._top_folders[top]


def top_name(path: str) -> str:
    """Return the first part of a file's path: its package, or the file of a module."""
    return path.split("/")[0]


def _folder_on_path(top: str) -> Path | None:
    """Return the folder on Python's path from which a package or module would be imported."""
    if not top.isidentifier():
        return None
    try:
        # For a name without dots this imports nothing.
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    package_folders = list(spec.submodule_search_locations or ())
    if package_folders:
        return Path(package_folders[0]).parent
    return Path(spec.origin).parent if spec.origin else None
