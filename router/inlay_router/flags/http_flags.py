"""The flags that say where the server listens, and what it tells about itself."""

from inlay_router.flags import numbers
from inlay_router.flags.flag import PATIENCE, SECONDS, Flag, Group, Kind, Switch, text

HTTP = Group(
    "HTTP",
    (
        Flag("host", "address to listen on", text("HOST"), aliases=("hostname",)),
        Flag("port", "port to listen on; 0 takes a free one", Kind(numbers.port, "N")),
        Flag("max-connections", "connections of clients at a time; above it 429"),
        Flag(
            "keep-alive-timeout",
            "seconds that a connection may stay open between two calls",
            SECONDS,
        ),
        Flag("payload-limit", "bytes of a request body"),
        Flag(
            "graceful-timeout",
            "seconds that running answers get to end after SIGTERM",
            PATIENCE,
            aliases=("graceful-termination-timeout", "drain-timeout"),
        ),
        Flag(
            "cors-allow-origin",
            "origin that browsers may call from",
            text("ORIGIN"),
            absent="any",
            is_repeatable=True,
            plural="cors_allow_origins",
        ),
        Flag(
            "otlp-endpoint",
            "URL of a collector of traces, OTLP over HTTP",
            text("URL"),
            absent="none",
        ),
        Flag("otlp-service-name", "what traces call this server", text("NAME")),
    ),
    (Switch("json-output", "write log lines as JSON objects", "has_json_logs"),),
)
