"""What `/metrics` shows of the load: what calls hold at the moment."""

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from inlay_router.doors.byte_budget import ByteBudget
from inlay_router.doors.permits import Permits


def watch_load(registry: CollectorRegistry, permits: Permits, body_bytes: ByteBudget) -> None:
    """Show it, read whenever the page is, which is made on the loop."""
    gauges: dict[str, tuple[str, Callable[[], float]]] = {
        "inlay_permits_taken": ("Generations in flight", lambda: permits.num_taken),
        "inlay_clients": ("Clients with generations in flight", lambda: permits.num_clients),
        "inlay_retry_seconds": (
            "What a refused client is told to wait",
            lambda: permits.retry_seconds,
        ),
        "inlay_body_bytes": ("Bodies being read or answered", lambda: body_bytes.num_taken),
        "inlay_tasks": ("Tasks of the router's loop", lambda: len(asyncio.all_tasks())),
    }
    for name, (words, read) in gauges.items():
        Gauge(name, words, registry=registry).set_function(read)
