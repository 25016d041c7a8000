"""Version of the installed distribution: `pyproject.toml` is the one place where it is written."""

from importlib import metadata


def installed_version() -> str:
    """Version in the installed distribution's metadata, or "unknown" where dgjax runs without being installed."""
    try:
        return metadata.version("dgjax")
    except metadata.PackageNotFoundError:
        return "unknown"
