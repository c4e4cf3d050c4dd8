"""The turns of a conversation, and the requests that they become. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inlay.terminal.pictures import picture_url
from inlay.terminal.typed_line import Picture, Text

Body = dict[str, Any]
"""A request as it travels: the JSON of `/v1/chat/completions` or `/generate_stream`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """How answers are chosen."""

    max_tokens: int | None = None
    """Longest answer; None for what the model has room for."""
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    seed: int | None = None
    """Of the random numbers, where the temperature is not 0."""
    schema: dict[str, Any] | None = None
    """JSON schema that answers are held to; None for free text."""


class Conversation:
    """Alternating turns of a user and an assistant."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []

    def __repr__(self) -> str:
        return f"Conversation({len(self._messages)} messages)"

    def __len__(self) -> int:
        return len(self._messages)

    def ask(self, pieces: Sequence[Text | Picture]) -> None:
        """Add a question. Raises NotAPicture."""
        self._messages.append({"role": "user", "content": [_part(piece) for piece in pieces]})

    def answered(self, text: str) -> None:
        """Add the answer; without a word of one, the question is taken back."""
        if text:
            self._messages.append({"role": "assistant", "content": text})
        else:
            self._messages.pop()

    def reset(self) -> None:
        """Forget everything."""
        self._messages.clear()

    def chat(self, controls: Controls) -> Body:
        """The body for `/v1/chat/completions`."""
        body: Body = {
            "model": "inlay",
            "messages": self._messages,
            "temperature": controls.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if controls.max_tokens is not None:
            body["max_tokens"] = controls.max_tokens
        if controls.seed is not None:
            body["seed"] = controls.seed
        if controls.schema is not None:
            named = {"name": "answer", "schema": controls.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    def plain(self, controls: Controls) -> Body:
        """The body for `/generate_stream`, for models without a chat template: the texts of all
        turns, an empty line behind each."""
        parameters: dict[str, Any] = {"max_new_tokens": controls.max_tokens, "details": True}
        if controls.temperature > 0:
            parameters |= {"temperature": controls.temperature, "do_sample": True}
        if controls.seed is not None:
            parameters["seed"] = controls.seed
        if controls.schema is not None:
            parameters["grammar"] = {"type": "json", "value": controls.schema}
        texts = (_plain(message["content"]) for message in self._messages)
        return {"inputs": "".join(f"{text}\n\n" for text in texts), "parameters": parameters}


def _part(piece: Text | Picture) -> dict[str, Any]:
    if isinstance(piece, Text):
        return {"type": "text", "text": piece.text}
    return {"type": "image_url", "image_url": {"url": picture_url(piece.name)}}


def _plain(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(
        part["text"] if part["type"] == "text" else f"![]({part['image_url']['url']})"
        for part in content
    )
