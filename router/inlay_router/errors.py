"""Every way a request can fail, and the one table that maps each to HTTP.

    RouterError
    ├── ValidationError          422  validation             what the client sent cannot be served
    ├── SuffixNotSupported       422  suffix not supported   a completion with `suffix`
    ├── TooManyPrompts           422  batch size exceeded    more prompts than one call may hold
    ├── TemplateError            422  template_error         the chat template refuses the messages
    ├── ToolError                422  tool_error             the tools cannot be used as asked
    ├── BadRequest               400  bad_request            the body is not JSON
    ├── PayloadTooLarge          413  payload_too_large      the body exceeds its limit
    ├── BodyTooSlow              408  request_timeout        the body does not arrive in time
    ├── UnsupportedMediaType     415  unsupported_media_type the body is not declared as JSON
    ├── Overloaded               429  overloaded             the queue is full
    │   └── Leaving              429  overloaded             the server is stopping
    ├── GenerationFailed         424  generation             a shard failed this request
    ├── TookTooLong              424  timeout                its time is over
    └── IncompleteGeneration     500  incomplete_generation  the engine stopped without an answer

Names in the third column are the `error_type` of the JSON body, in TGI's shape:
`{"error": "<words>", "error_type": "<name>"}`.
"""

from http import HTTPStatus
from typing import ClassVar


class RouterError(Exception):
    """A failure that a client is told about; `str()` of it is the `error` field of the body."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    error_type: ClassVar[str] = "internal"


class ValidationError(RouterError):
    """The request is well-formed JSON and cannot be served. The message names field and limit."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "validation"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Input validation error: {reason}")


class SuffixNotSupported(RouterError):
    """A completion that should end before a given text."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "suffix not supported"

    def __init__(self) -> None:
        super().__init__("Suffix is not supported and can be achieved by preprocessing the prompt.")


class TooManyPrompts(RouterError):
    """More prompts in one call than `--max-client-batch-size`."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "batch size exceeded"

    def __init__(self, num_prompts: int, max_prompts: int) -> None:
        super().__init__(
            f"Number of prompts exceeds the maximum allowed batch size of {max_prompts}. "
            f"Given: {num_prompts}"
        )


class TemplateError(RouterError):
    """There is no chat template, or it refuses the messages; the words are its own."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "template_error"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Template error: {reason}")


class ToolError(RouterError):
    """The tools of a chat contradict each other or the rest of the request."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    error_type = "tool_error"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Tool error: {reason}")


class BadRequest(RouterError):
    """The body is not JSON."""

    status = HTTPStatus.BAD_REQUEST
    error_type = "bad_request"


class PayloadTooLarge(RouterError):
    """The body exceeds `--payload-limit`."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    error_type = "payload_too_large"


class BodyTooSlow(RouterError):
    """The body has not arrived within the time that it may take."""

    status = HTTPStatus.REQUEST_TIMEOUT
    error_type = "request_timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The request body must arrive within {seconds:g} seconds")


class UnsupportedMediaType(RouterError):
    """The body is not declared as JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    error_type = "unsupported_media_type"


class Overloaded(RouterError):
    """The queue is full; the client may try again."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    error_type = "overloaded"

    def __init__(self) -> None:
        super().__init__("Model is overloaded")


class Leaving(Overloaded):
    """The server lets running calls end and takes no more; another one may."""

    def __init__(self) -> None:
        RouterError.__init__(self, "The server is stopping and takes no new requests")


class GenerationFailed(RouterError):
    """A shard could not go on with this request; its neighbours were not touched."""

    status = HTTPStatus.FAILED_DEPENDENCY
    error_type = "generation"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Request failed during generation: {reason}")


class TookTooLong(RouterError):
    """The time that the server or the client set for the request is over.

    Not 408 or 504, after which clients ask again by themselves, and make it worse.
    """

    status = HTTPStatus.FAILED_DEPENDENCY
    error_type = "timeout"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The request took longer than its `max_time` of {seconds:g} seconds")


class IncompleteGeneration(RouterError):
    """The engine stopped before the answer was complete."""

    error_type = "incomplete_generation"

    def __init__(self) -> None:
        super().__init__("Incomplete generation")
