"""The HTTP application: which path is answered by whom."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount, Route, request_response
from starlette.staticfiles import StaticFiles

from inlay_router.api import status
from inlay_router.api.api_key import ApiKeyGate
from inlay_router.api.chat import chat_completions, chat_tokenize
from inlay_router.api.completions import completions
from inlay_router.api.generate import compat_generate, generate, generate_stream
from inlay_router.api.openapi import SWAGGER_UI, docs, openapi
from inlay_router.api.platforms import invocations, vertex
from inlay_router.api.responses import http_error, internal_error
from inlay_router.api.route import ByMethod, GenerationRoute, Handler
from inlay_router.api.tokenize import tokenize
from inlay_router.config import RouterConfig
from inlay_router.doors.api_keys import ApiKeys
from inlay_router.service import Service


def make_app(service: Service) -> Starlette:
    """An ASGI application for a service that is running.

    Raises ConfigError when the file of API keys cannot be used.
    """
    return Starlette(
        routes=_routes(service),
        middleware=_layers(service.config),
        exception_handlers={HTTPException: http_error, Exception: internal_error},
    )


def _layers(config: RouterConfig) -> list[Middleware]:
    """Outermost first: a browser asks what it may send before it shows a key."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(config.cors_allow_origins) or ["*"],
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        expose_headers=["*"],
    )
    if not config.asks_for_key:
        return [cors]
    return [cors, Middleware(ApiKeyGate, ApiKeys(config.api_key, config.api_key_file))]


def _routes(service: Service) -> list[BaseRoute]:
    health = status.health(service)
    description = openapi(has_api_key=service.config.asks_for_key)
    root = ByMethod(GET=request_response(health), POST=GenerationRoute(service, compat_generate))
    return [
        Route("/", root, methods=root.methods),
        _post(service, "/generate", generate),
        _post(service, "/generate_stream", generate_stream),
        _post(service, "/v1/chat/completions", chat_completions),
        _post(service, "/v1/completions", completions),
        _post(service, "/invocations", invocations),
        _post(service, "/vertex", vertex),
        _post(service, "/tokenize", tokenize),
        _post(service, "/chat_tokenize", chat_tokenize),
        Route("/health", health),
        Route("/ping", health),
        Route("/v1/models", status.models(service)),
        Route("/v1/models/{model_id:path}", status.model(service)),
        Route("/info", status.info(service)),
        Route("/metrics", status.metrics(service)),
        Route("/openapi.json", description),
        Route("/api-doc/openapi.json", description),
        Route("/docs", docs),
        Mount("/docs", StaticFiles(directory=SWAGGER_UI)),
    ]


def _post(service: Service, path: str, handler: Handler) -> Route:
    return Route(path, GenerationRoute(service, handler), methods=["POST"])
