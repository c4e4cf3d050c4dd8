"""The OpenAPI document, made of the types that parse requests and write answers."""

import re
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from inlay_router.api.examples import EXAMPLES
from inlay_router.api.operations import OPERATIONS, Operation
from inlay_router.schemas import ErrorBody, OpenAIRefusal
from inlay_router.version import VERSION

Endpoint = Callable[[Request], Awaitable[Response]]

SWAGGER_UI = Path(__file__).parent.parent / "swagger_ui"

_POST_REFUSALS = (400, 408, 413, 415, 422, 424, 429, 500)
_REF = "#/components/schemas/{name}"


def document(*, has_api_key: bool) -> dict[str, Any]:
    """The whole document, ready to be written as JSON."""
    types = list(dict.fromkeys(_types()))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, schema_of)
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "inlay",
            "version": VERSION,
            "description": "text-generation-inference's HTTP API, and OpenAI's.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }
    if has_api_key:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"key": []}]
    return described


def openapi(*, has_api_key: bool) -> Endpoint:
    """The document as JSON."""
    content = msgspec.json.encode(document(has_api_key=has_api_key))

    async def answer(request: Request) -> Response:
        return Response(content, media_type="application/json")

    return answer


async def docs(request: Request) -> Response:
    """A page that shows the document and sends requests; it needs nothing from the network."""
    return FileResponse(SWAGGER_UI / "index.html")


def _types() -> Iterator[Any]:
    yield from (ErrorBody, OpenAIRefusal)
    for operation in OPERATIONS:
        yield from (*operation.bodies, *operation.answers, *operation.events)


def _described(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _name(operation),
        "responses": _responses(operation, schema_of),
    }
    if operation.bodies:
        schema = _one_of([schema_of[body] for body in operation.bodies])
        example = EXAMPLES[operation.bodies[0]]
        content = {"application/json": {"schema": schema, "example": example}}
        described["requestBody"] = {"required": True, "content": content}
    names = re.findall(r"{(\w+)}", operation.path)
    if names:
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in names
        ]
    return described


def _name(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path) or ["root"]
    return "_".join([operation.method, *words])


def _responses(operation: Operation, schema_of: dict[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.answers:
        schema = _one_of([schema_of[answer] for answer in operation.answers])
        content[operation.media_type] = {"schema": schema}
    if operation.events:
        schema = _event([schema_of[event] for event in operation.events], operation.has_end_mark)
        content["text/event-stream"] = {"schema": schema}
    responses: dict[str, Any] = {"200": {"description": "OK"}}
    if content:
        responses["200"]["content"] = content
    general = _POST_REFUSALS if operation.method == "post" else ()
    # OpenAI's own clients get OpenAI's shape.
    is_openai = operation.path.startswith("/v1/")
    refusals = [schema_of[ErrorBody], *([schema_of[OpenAIRefusal]] if is_openai else [])]
    for status in sorted({*general, *operation.refusals, 401}):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": _one_of(refusals)}},
        }
    return responses


def _one_of(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _event(schemas: list[Any], has_end_mark: bool) -> Any:
    """One event of a stream: what its `data:` line holds."""
    body = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": _one_of(schemas),
    }
    data = _one_of([{"const": "[DONE]"}, body]) if has_end_mark else body
    return {"type": "object", "properties": {"data": data}, "required": ["data"]}
