"""The HTTP application: which path is answered by whom."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route

from inlay_router.api import status
from inlay_router.api.generate import compat_generate, generate, generate_stream
from inlay_router.api.responses import http_error, internal_error
from inlay_router.api.route import GenerationRoute, Handler
from inlay_router.service import Service


def make_app(service: Service) -> Starlette:
    """An ASGI application for a service that is running."""
    origins = list(service.config.cors_allow_origins) or ["*"]
    cors = Middleware(
        CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"]
    )
    return Starlette(
        routes=_routes(service),
        middleware=[cors],
        exception_handlers={HTTPException: http_error, Exception: internal_error},
    )


def _routes(service: Service) -> list[BaseRoute]:
    health = status.health(service)
    return [
        _post(service, "/", compat_generate),
        _post(service, "/generate", generate),
        _post(service, "/generate_stream", generate_stream),
        Route("/", health),
        Route("/health", health),
        Route("/info", status.info(service)),
        Route("/metrics", status.metrics(service)),
    ]


def _post(service: Service, path: str, handler: Handler) -> Route:
    return Route(path, GenerationRoute(service, handler), methods=["POST"])
