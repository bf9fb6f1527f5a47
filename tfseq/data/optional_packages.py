"""Importing optional packages that carry data, with errors that say what to install."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from tfseq.errors import DataError


def import_package(module: str, package: str, what: str) -> ModuleType:
    """The module, imported.

    Args:
        module: as `import` calls it, such as "sklearn.datasets".
        package: as pip calls it, such as "scikit-learn".
        what: needs it, for the message.

    Raises:
        DataError: the package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise DataError(_missing(what, package)) from error


def package_folder(package: str, what: str, *others: str) -> tuple[Path, str]:
    """Where a package, or else one of the others, keeps its files, and its name and version. Imports nothing.

    Raises:
        DataError: none of them is installed.
    """
    for name in (package, *others):
        try:
            spec = find_spec(name)
        except ValueError:  # what `sys.modules` says of a package that was hidden
            spec = None
        if spec is not None and spec.origin:
            return Path(spec.origin).parent, f"{name} {package_version(name)}"
    raise DataError(_missing(what, package))


def package_version(package: str) -> str:
    """The version that is installed, or "of unknown version"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _missing(what: str, package: str) -> str:
    return f'{what} needs {package}, which is not installed: pip install "tfseq[data]", or pip install {package}.'
