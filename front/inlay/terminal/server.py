"""A server that speaks HTTP, seen from a terminal."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

from inlay.terminal.conversation import Body
from inlay.terminal.errors import Refused, TerminalError, Unreachable, refusal
from inlay.terminal.source import Ended, Pieces

_CONNECT_SECONDS = 10.0
_DATA = b"data:"
_DONE = "[DONE]"
_FINISH_REASONS = {"eos_token": "stop", "stop_sequence": "stop", "length": "length"}
"""From TGI's words to OpenAI's."""


class Server:
    """A source of answers over HTTP."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """Asks the server for its model. Raises TerminalErrors."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TerminalError(f"--url must look like http://127.0.0.1:3000. Given: {url}")
        self._parts = parts
        self._path = parts.path.rstrip("/").removesuffix("/v1")
        self._headers = {"content-type": "application/json"}
        if api_key is not None:
            self._headers["authorization"] = f"Bearer {api_key}"
        self.url = f"{parts.scheme}://{parts.netloc}{self._path}"
        self.model_id = self._ask_model()

    def __repr__(self) -> str:
        return f"Server({self.url!r}, {self.model_id!r})"

    def chat(self, body: Body) -> Pieces:
        """See `Source`."""
        usage = {"prompt_tokens": 0, "completion_tokens": 0}
        reason = "stop"
        for event in self._events("/v1/chat/completions", {**body, "model": self.model_id}):
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                reason = choice["finish_reason"] or reason
                if text := choice["delta"].get("content"):
                    yield text
        yield Ended(
            finish_reason=reason,
            num_prompt_tokens=usage["prompt_tokens"],
            num_answer_tokens=usage["completion_tokens"],
        )

    def plain(self, body: Body) -> Pieces:
        """See `Source`."""
        for event in self._events("/generate_stream", body):
            token = event["token"]
            if token["text"] and not token["special"]:
                yield token["text"]
            if details := event["details"]:
                yield Ended(
                    finish_reason=_FINISH_REASONS[details["finish_reason"]],
                    num_prompt_tokens=details.get("input_length") or 0,
                    num_answer_tokens=details["generated_tokens"],
                )

    def close(self) -> None:
        """Nothing is held between requests."""

    def _ask_model(self) -> str:
        with self._reply("GET", "/v1/models") as reply:
            try:
                name = json.load(reply)["data"][0]["id"]
            except (ValueError, LookupError, TypeError):
                raise Unreachable(f"what answers at {self.url} is no inlay server") from None
            return str(name)

    def _events(self, path: str, body: Body) -> Iterator[dict[str, Any]]:
        with self._reply("POST", path, json.dumps(body)) as reply:
            for line in reply:
                if not line.startswith(_DATA):
                    continue
                data = line[len(_DATA) :].decode().strip()
                if data == _DONE:
                    return
                event: dict[str, Any] = json.loads(data)
                if "error" in event:
                    raise refusal(_words(event))
                yield event

    @contextmanager
    def _reply(
        self, method: str, path: str, body: str | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """A reply that is no error; to leave the context closes the connection."""
        with closing(self._connection()) as connection, self._in_words():
            connection.connect()
            connection.sock.settimeout(None)  # long prompts take their time
            connection.request(method, self._path + path, body, self._headers)
            reply = connection.getresponse()
            if reply.status != http.HTTPStatus.OK:
                raise self._refusal(reply)
            yield reply

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=_CONNECT_SECONDS)
        return http.client.HTTPConnection(host, port, timeout=_CONNECT_SECONDS)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except ConnectionRefusedError:
            raise Unreachable(
                f"no server answers at {self.url}. `inlay serve` starts one; without --url the "
                "model runs here"
            ) from None
        except socket.gaierror:
            raise Unreachable(f"there is no host named {self._parts.hostname}") from None
        except TimeoutError:
            raise Unreachable(f"{self.url} did not answer within {_CONNECT_SECONDS:g} s") from None
        except ssl.SSLError as error:
            raise Unreachable(f"{self.url} has no valid TLS: {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            words = str(error) or type(error).__name__
            raise Unreachable(f"the connection to {self.url} broke: {words}") from None

    def _refusal(self, reply: http.client.HTTPResponse) -> TerminalError:
        if reply.status == http.HTTPStatus.UNAUTHORIZED:
            return Refused(
                f"{self.url} wants its API key: --api-key KEY, or INLAY_API_KEY=KEY before the "
                "command"
            )
        if reply.status == http.HTTPStatus.NOT_FOUND:
            return Unreachable(f"what answers at {self.url} is no inlay server")
        try:
            return refusal(_words(json.load(reply)))
        except ValueError:
            return Refused(f"{self.url} answered {reply.status} {reply.reason}")


def _words(body: Mapping[str, Any]) -> str:
    """Of an error in TGI's shape or in OpenAI's."""
    error = body.get("error", body)
    return str(error.get("message", error) if isinstance(error, dict) else error)
