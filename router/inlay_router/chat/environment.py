"""The sandbox that chat templates run in: what `transformers` gives them, and a deadline."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

_deadline: ContextVar[float] = ContextVar("deadline")


class TooSlow(Exception):
    """A template did not come to its end in time."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Templates that run inside for longer than this raise TooSlow."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def check_deadline() -> None:
    """Raises TooSlow."""
    if time.monotonic() > _deadline.get():
        raise TooSlow


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Looks at the clock whenever a template reads or calls anything."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """See Jinja."""
        check_deadline()
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """See Jinja."""
        check_deadline()
        return super().getitem(obj, argument)

    def call(*arguments: Any, **keywords: Any) -> Any:
        """See Jinja. Without names of its own, because a template may use any."""
        check_deadline()
        return ImmutableSandboxedEnvironment.call(*arguments, **keywords)


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks what an assistant wrote; here it is text."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_text"), [], [], body).set_lineno(line)

    def _text(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict`, as something that can only be called."""

    def __call__(self, *arguments: Any, **keywords: Any) -> dict[Any, Any]:
        return dict(*arguments, **keywords)

    def fromkeys(self, *arguments: Any) -> dict[Any, Any]:
        return dict.fromkeys(*arguments)


class _SafeNamespace(Namespace):
    """`namespace`, without names that begin with an underscore."""

    def __init__(*arguments: Any, **keywords: Any) -> None:
        self, *rest = arguments
        attributes = dict(*rest, **keywords)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold {name!r}: it begins with an underscore")


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(format: str) -> str:
    return datetime.now().strftime(format)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is: Jinja's own filter escapes what HTML would misread."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def make_environment() -> ChatEnvironment:
    """What `transformers.utils.chat_template_utils` compiles templates with."""
    environment = ChatEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.globals["dict"] = _Dict()
    environment.globals["namespace"] = _SafeNamespace
    return environment
