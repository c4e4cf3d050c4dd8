"""A client that does not read is dropped by the system."""

import select
import socket

import pytest

from inlay_router.doors.slow_readers import drop_slow_readers


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system cannot")
def test_a_client_that_never_reads_is_dropped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        drop_slow_readers(listener, 0.3)
        with socket.create_connection(listener.getsockname()) as client:
            connection, _ = listener.accept()
            with connection, pytest.raises(TimeoutError):
                connection.setblocking(False)
                while True:
                    _, writable, _ = select.select([], [connection], [], 30.0)
                    assert writable, "it is still there"
                    connection.send(b"x" * 65536)
            assert client.recv(1) == b"x"
