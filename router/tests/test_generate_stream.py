"""The events of `/generate_stream`, byte for byte, and how they end."""

import asyncio
import json
from typing import Any

import pytest
from scripted_router import eventually, post, serve

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_deaths import dying
from inlay_router.links.scripted_shard import RowFault, spell


def test_a_stream_is_tgis_byte_for_byte() -> None:
    parameters = {"details": True, "top_n_tokens": 0}
    response = post("/generate_stream", {"inputs": "abc", "parameters": parameters})
    assert response.content == (
        b'data: {"index":1,"token":{"id":39,"text":"H","logprob":-0.5,"special":false},'
        b'"generated_text":null,"details":null}\n\n'
        b'data: {"index":2,"token":{"id":72,"text":"i","logprob":-0.5,"special":false},'
        b'"generated_text":null,"details":null}\n\n'
        b'data: {"index":3,"token":{"id":257,"text":"</s>","logprob":-0.5,"special":true},'
        b'"generated_text":"Hi","details":{"finish_reason":"eos_token","generated_tokens":3,'
        b'"seed":null,"input_length":3}}\n\n'
    )


def test_a_stream_without_details_ends_with_the_text() -> None:
    body = {"inputs": "x", "parameters": {"max_new_tokens": 1, "top_n_tokens": 2}}
    top = (
        b'[{"id":39,"text":"H","logprob":-0.5,"special":false},'
        b'{"id":40,"text":"I","logprob":-1.5,"special":false}]'
    )
    assert post("/generate_stream", body).content == (
        b'data: {"index":1,"token":{"id":39,"text":"H","logprob":-0.5,"special":false},'
        b'"top_tokens":%b,"generated_text":"H","details":null}\n\n' % top
    )


def test_a_stream_has_three_headers_of_its_own() -> None:
    headers = post("/generate_stream", {"inputs": "xyz"}).headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache"
    assert {key: value for key, value in headers.items() if key.startswith("x-")} == {
        "x-compute-type": "1-cpu",
        "x-compute-characters": "3",
        "x-accel-buffering": "no",
    }


def test_characters_arrive_whole() -> None:
    response = post("/generate_stream", {"inputs": "x"}, choose=spell("é🙂"))
    events = [json.loads(line[6:]) for line in response.text.split("\n\n") if line]
    assert [event["token"]["text"] for event in events] == ["", "é", "", "", "", "🙂", "</s>"]
    assert "é🙂".encode() in response.content


def test_a_row_that_fails_in_a_stream_ends_it_with_an_event() -> None:
    hello = spell("Hello")

    def choose(token_ids: list[int], num_prompt_tokens: int) -> int:
        if len(token_ids) - num_prompt_tokens == 1:
            raise RowFault(pb.RowFailure.KIND_INTERNAL, "NaN in the logits")
        return hello(token_ids, num_prompt_tokens)

    response = post("/generate_stream", {"inputs": "x"}, choose=choose)
    assert response.status_code == 200
    first, second, end = response.content.split(b"\n\n")
    assert b'"index":1' in first
    assert second == (
        b'data: {"error":"Request failed during generation: NaN in the logits",'
        b'"error_type":"generation"}'
    )
    assert end == b""


def test_a_stop_of_the_router_ends_a_stream_with_tgis_words() -> None:
    async def scenario() -> None:
        async with serve() as edge:
            await edge.link.pause()
            call = edge.open("/generate_stream", {"inputs": "x"})
            await call.until_sent(1)
            await edge.generation.stop()
            await call.task
            assert call.text == (
                b'data: {"error":"Incomplete generation stream",'
                b'"error_type":"incomplete_generation_stream"}\n\n'
            )

    asyncio.run(scenario())


def test_a_stream_goes_on_when_the_shard_dies_once() -> None:
    has_died: list[bool] = []

    def is_first_time(token_ids: list[int]) -> bool:
        if len(token_ids) == 3 and not has_died:
            has_died.append(True)
            return True
        return False

    response = post("/generate_stream", {"inputs": "x"}, choose=dying(is_first_time, spell("Hi")))
    assert has_died
    assert response.text.count("data: ") == 3
    assert '"generated_text":"Hi"' in response.text


def test_tokens_that_are_ready_together_go_in_one_send() -> None:
    async def scenario() -> None:
        async with serve(spell("Hi")) as edge:
            call = edge.open("/generate_stream", {"inputs": "x"})
            original = call.send

            async def send_slowly(message: Any) -> None:
                if message["type"] == "http.response.body" and len(call.sent) == 1:
                    await eventually(lambda: edge.generation.stats.num_running == 0)
                    await asyncio.sleep(0)  # the last result is settled, and now delivered
                    await asyncio.sleep(0)
                await original(message)

            call.send = send_slowly  # type: ignore[method-assign]
            await call.task
            assert [body.count(b"data: ") for body in call.bodies] == [1, 2]

    asyncio.run(scenario())


def test_silence_is_broken_by_a_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inlay_router.sse.KEEP_ALIVE_SECONDS", 0.001)

    async def scenario() -> None:
        async with serve() as edge:
            await edge.link.pause()
            call = edge.open("/generate_stream", {"inputs": "x"})
            await call.until_sent(3)
            assert set(call.bodies) == {b":\n\n"}
            call.leave()
            await call.task

    asyncio.run(scenario())
