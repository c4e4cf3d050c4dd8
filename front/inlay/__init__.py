"""The top floor: the `inlay` command, the launcher, and the embedded model."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("inlay")
except PackageNotFoundError:  # running from a checkout that was never installed
    __version__ = "0+unknown"
