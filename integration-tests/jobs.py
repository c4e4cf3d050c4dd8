"""Requests whose answers are the same whenever and beside whomever they are made."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness import EXAMPLES, Server, stream

PICTURE = EXAMPLES / "shapes.png"
_NUM_CHARACTERS = 390
"""Of an answer that a grammar holds; a token has one or more."""
_NUM_ORDERS = 6
_SECONDS = 180.0

Piece: TypeAlias = tuple[int, str]
"""Which of the answers it belongs to, and what it adds."""


class Failed(Exception):
    """The server said that an answer failed."""


@dataclass(frozen=True)
class Job:
    """One request."""

    text: str
    num_pictures: int = 0
    is_seeded: bool = False
    has_grammar: bool = False
    has_forced_tokens: bool = False
    """Whether a grammar leaves no choice for most of the answer."""
    num_choices: int = 1
    """More than one by OpenAI's route, as `n`."""
    is_best_of: bool = False
    """Whether the best of two is asked for, which comes as a whole."""

    def ask(self, server: Server, variant: int) -> Iterator[Piece]:
        """The pieces of the answer, as they come. Raises Failed."""
        if self.is_best_of:
            return self._best(server, variant)
        if self.num_choices > 1:
            return self._choices(server, variant)
        return self._tokens(server, variant)

    def _tokens(self, server: Server, variant: int) -> Iterator[Piece]:
        for event in stream(server, self.inputs(variant), **self.parameters(variant)):
            if "error" in event:
                raise Failed(event)
            yield 0, f"{event['token']['id']}:{event['token']['text']} "
            if event["generated_text"] is not None:
                return
        raise ConnectionError("the stream ended without its text")

    def _choices(self, server: Server, variant: int) -> Iterator[Piece]:
        body = self._completion(variant) | {"n": self.num_choices, "stream": True}
        with _post(f"{server.url}/v1/completions", body) as reply:
            for line in reply:
                if not line.startswith(b"data: "):
                    continue
                if line == b"data: [DONE]\n":
                    return
                event = json.loads(line[6:])
                if "error" in event:
                    raise Failed(event)
                for choice in event["choices"]:
                    yield choice["index"], choice["text"]
        raise ConnectionError("the stream ended without its mark")

    def _best(self, server: Server, variant: int) -> Iterator[Piece]:
        body = self._completion(variant) | {"best_of": 2}
        with _post(f"{server.url}/v1/completions", body) as reply:
            yield 0, json.load(reply)["choices"][0]["text"]

    def inputs(self, variant: int) -> str:
        """Each variant shows the same pixels in a file that no cache knows."""
        uri = data_uri_of(PICTURE.read_bytes() + variant.to_bytes(4))
        return f"![]({uri})" * self.num_pictures + self.text

    def parameters(self, variant: int) -> dict[str, Any]:
        """Each variant has the same language in a grammar that no cache knows."""
        parameters: dict[str, Any] = {"max_new_tokens": 400}
        if self.is_seeded:
            parameters |= {"do_sample": True, "temperature": 1.5, "seed": 11}
        if self.has_grammar:
            begin = variant % _NUM_CHARACTERS
            value = f"[a-z ]{{{begin}}}[a-z ]{{{_NUM_CHARACTERS - begin}}}"
            parameters["grammar"] = {"type": "regex", "value": value}
        if self.has_forced_tokens:
            parameters["grammar"] = orders(_NUM_ORDERS, variant)
        return parameters

    def _completion(self, variant: int) -> dict[str, Any]:
        parameters = self.parameters(variant)
        max_tokens = parameters.pop("max_new_tokens")
        return {"prompt": self.inputs(variant), "max_tokens": max_tokens, **parameters}


def orders(num_orders: int, variant: int = 0) -> dict[str, Any]:
    """A grammar that leaves a choice for few tokens of an answer; each variant has the same
    language, in words that no cache knows."""
    status = {"enum": ["waiting for payment", "waiting for delivery", "delivered"]}
    properties = {"customer_name": {"type": "string", "maxLength": 12}, "status": status}
    order = {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }
    listed = {"type": "array", "items": order, "minItems": num_orders, "maxItems": num_orders}
    return {"type": "json", "value": {"description": f"variant {variant}", **listed}}


def data_uri_of(png: bytes) -> str:
    """A picture as it stands in a prompt."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    return urllib.request.urlopen(request, timeout=_SECONDS)


JOBS = (
    Job("What is this a picture of?\n\n", num_pictures=1, has_grammar=True),
    Job("a b c d e", is_seeded=True),
    Job("a b c d e" * 60, is_seeded=True, has_grammar=True),
    Job("Extract the objects as JSON.\n\n", num_pictures=1, is_seeded=True),
    Job("Tell me something.\n\n", has_forced_tokens=True),
    Job("What is this?\n\n", num_pictures=2, is_seeded=True, has_grammar=True),
    Job("Tell me something.\n\n"),
    Job("a b c d e" * 200, is_seeded=True),
    Job("Tell me something.\n\n", num_pictures=1, is_seeded=True, num_choices=2),
    Job("a b c d e", is_seeded=True, has_grammar=True, is_best_of=True),
)
