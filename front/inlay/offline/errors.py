"""How the engine fails in a program's own process.

EngineError                   the engine cannot start, or has stopped
RequestRefused (ValueError)   what was asked for cannot be served; the words name field and limit
RequestFailed                 the engine could not go on with a request; others were not touched
"""


class EngineError(RuntimeError):
    """The engine cannot start, or has stopped; the words say why."""


class RequestRefused(ValueError):
    """What was asked for cannot be served. The message names the field, the limit and the value."""


class RequestFailed(RuntimeError):
    """The engine could not go on with this request; its neighbours were not touched."""
