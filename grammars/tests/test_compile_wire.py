"""Messages survive a pipe, and half a message is none."""

import os
import threading

import pytest

from inlay_grammars import wire


def test_messages_larger_than_a_pipe_arrive_whole_and_in_order() -> None:
    read_fd, write_fd = os.pipe()
    messages: list[wire.Message] = [{"id": 1, "value": "é" * 500_000}, {"id": 2, "error": None}]

    def send() -> None:
        with os.fdopen(write_fd, "wb") as pipe:
            pipe.write(b"".join(wire.encode(message) for message in messages))

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(read_fd, "rb", buffering=0) as pipe:
        assert [wire.read(pipe), wire.read(pipe), wire.read(pipe)] == [*messages, None]
    sender.join()


@pytest.mark.parametrize("num_bytes", [0, 2, 4, 9])
def test_a_message_cut_short_is_none(num_bytes: int) -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, wire.encode({"id": 1})[:num_bytes])
    os.close(write_fd)
    with os.fdopen(read_fd, "rb", buffering=0) as pipe:
        assert wire.read(pipe) is None
