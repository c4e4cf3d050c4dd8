"""Which release of inlay this is."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("inlay")
    except PackageNotFoundError:
        return "0+unknown"


VERSION = _installed()
"""As the installed distribution says; a bare checkout does not know."""
