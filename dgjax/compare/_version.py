"""Which version this is."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """Of the package as it is installed."""
    try:
        return version("dgjax")
    except PackageNotFoundError:
        return "not installed"
