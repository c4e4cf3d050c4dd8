"""The flags that say how much is taken on, and how long it may take."""

from argparse import ArgumentTypeError

from inlay_router.flags.flag import Flag


def seconds(text: str) -> float:
    """A time of more than nothing."""
    if not (number := float(text)) > 0:
        raise ArgumentTypeError(f"must be more than 0. Given: {text}")
    return number


LOAD_FLAGS = (
    Flag(
        name="max-queue-tokens",
        field="max_queue_tokens",
        group="limits of a request",
        help="prompt tokens that may wait; above it 429",
        absent="no limit but that of requests",
    ),
    Flag(
        name="max-body-bytes",
        field="max_body_bytes",
        group="limits of a request",
        help="bytes of the bodies of all requests that are being read or answered; above it 429",
    ),
    Flag(
        name="max-time",
        field="max_time",
        group="limits of a request",
        help="seconds that a request may take from receipt to its last byte",
        type=seconds,
        metavar="S",
        absent="as long as it takes",
    ),
)
