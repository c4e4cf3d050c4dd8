"""`/health`, `/info`, `/v1/models` and `/metrics`: what the server says of itself."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from inlay_router.api.responses import json_response, refusal
from inlay_router.batching.pace import default_prefill_tokens
from inlay_router.schemas import ErrorBody, InfoAnswer, ModelBody, ModelsAnswer
from inlay_router.service import Service
from inlay_router.telemetry.metrics import CONTENT_TYPE
from inlay_router.version import VERSION

Endpoint = Callable[[Request], Awaitable[Response]]


def health(service: Service) -> Endpoint:
    """200 with nothing in it while the router lives.

    Asked for `?ready`, 503 while the model is away or the server is leaving. Streams outlive a
    restart of the shards, so that is no reason to end the router.
    """

    async def answer(request: Request) -> Response:
        is_ready = service.generation.is_ready and not service.departure.has_begun
        if is_ready or "ready" not in request.query_params:
            return Response()
        body = ErrorBody("unhealthy", "healthcheck")
        return json_response(body, status=HTTPStatus.SERVICE_UNAVAILABLE)

    return answer


def info(service: Service) -> Endpoint:
    """The model and the limits."""
    config, limits, facts = service.config, service.limits, service.facts
    body = InfoAnswer(
        model_id=facts.model_id,
        model_sha=None,
        model_pipeline_tag="image-text-to-text" if limits.takes_images else "text-generation",
        max_concurrent_requests=config.max_concurrent_requests,
        max_best_of=limits.max_best_of,
        max_stop_sequences=limits.max_stop_sequences,
        max_input_tokens=limits.max_input_tokens,
        max_total_tokens=limits.max_total_tokens,
        validation_workers=1,
        max_client_batch_size=limits.max_client_batch_size,
        router="inlay-router",
        version=VERSION,
        sha=None,
        docker_label=None,
        model_type=facts.model_type,
        model_dtype=facts.dtype,
        model_device_type=facts.device.partition(":")[0],
        num_shard=facts.num_shards,
        max_batch_prefill_tokens=(
            config.max_batch_prefill_tokens or default_prefill_tokens(facts.device)
        ),
        max_batch_size=config.max_batch_size,
        takes_images=limits.takes_images,
        has_grammars=limits.has_grammars,
    )

    async def answer(request: Request) -> Response:
        return json_response(body)

    return answer


def models(service: Service) -> Endpoint:
    """The one model, in OpenAI's shape."""
    model_id = service.facts.model_id
    body = ModelsAnswer([ModelBody(model_id, owned_by=model_id)])

    async def answer(request: Request) -> Response:
        return json_response(body)

    return answer


def model(service: Service) -> Endpoint:
    """The model by its name, or 404."""
    model_id = service.facts.model_id

    async def answer(request: Request) -> Response:
        if request.path_params["model_id"] != model_id:
            words = f"no such model: this server has `{model_id}`"
            return refusal(request, HTTPStatus.NOT_FOUND, words, "not_found")
        return json_response(ModelBody(model_id, owned_by=model_id))

    return answer


def metrics(service: Service) -> Endpoint:
    """Prometheus' text format."""

    async def answer(request: Request) -> Response:
        return Response(service.metrics.page(), media_type=CONTENT_TYPE)

    return answer
