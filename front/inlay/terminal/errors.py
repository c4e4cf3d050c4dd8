"""What can go wrong at a terminal; `str()` of each is a sentence for the person who sits there.

TerminalError
├── Unreachable       no server answers
├── Refused           the model's side does not take the request
│   └── NoTemplate    the model cannot be spoken to in turns
├── WrongUsage        options that contradict each other
├── NotAPicture       a file that is missing, unreadable or no picture
└── BadSchema         a file that holds no JSON schema
"""


class TerminalError(Exception):
    """Something that the person can read and act on."""

    exit_code = 1
    """Of a command that cannot go on."""


class Unreachable(TerminalError):
    """No server answers, or it went away."""


class Refused(TerminalError):
    """The request cannot be served; the words are those of the server or the engine."""


class NoTemplate(Refused):
    """The model carries no chat template."""


class WrongUsage(TerminalError):
    """The command line makes no sense as a whole."""

    exit_code = 2


class NotAPicture(TerminalError):
    """What was given as a picture is none."""


class BadSchema(TerminalError):
    """What was given as a JSON schema is none."""


NO_TEMPLATE = "template not found"
"""How the router says that a model carries no chat template."""


def refusal(words: str) -> Refused:
    """The error for what a server, or the engine, said."""
    words = words.removeprefix("Input validation error: ")
    return NoTemplate(words) if NO_TEMPLATE in words else Refused(words)
