"""Lets the system drop connections whose clients read nothing any more, whoever waits for them."""

import socket

SILENT_SECONDS = 60.0
"""A client that takes no byte for so long, while there are some for it, is gone."""


def drop_slow_readers(listener: socket.socket, seconds: float = SILENT_SECONDS) -> None:
    """Do so for every connection that `listener` accepts from now on, where the system can.

    A client that reads slowly is not dropped: each byte that it takes starts the time anew.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # RFC 5482; accepted sockets inherit it on Linux
        milliseconds = round(seconds * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
