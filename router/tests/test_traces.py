"""Traces: what a call says of itself, and how it reaches a collector."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from scripted_router import AcceptingGrammars, serve
from test_router_prompt import data_uri

from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import spell
from inlay_router.request import Finish, FinishReason
from inlay_router.telemetry.spans import Trail, spans_of
from inlay_router.telemetry.stages import Stage, keep_preparation, keep_stages
from inlay_router.telemetry.traces import Traces

SECOND = 1_000_000_000
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


def trail(**changes: Any) -> Trail:
    finish = Finish(
        reason=FinishReason.LENGTH,
        generated_text="",
        num_generated_tokens=3,
        queue_seconds=1.0,
        inference_seconds=2.0,
    )
    settings: dict[str, Any] = {
        "name": "generate",
        "traceparent": PARENT,
        "start": 10 * SECOND,
        "end": 14 * SECOND,
        "validation_seconds": 0.5,
        "received": 100.0,
        "finishes": (finish,),
        "failure": None,
    }
    return Trail(**{**settings, **changes})


def test_a_call_and_its_stages_are_spans_of_the_clients_trace() -> None:
    call, *stages = spans_of(trail())
    assert {span["traceId"] for span in (call, *stages)} == {TRACE_ID}
    assert call["parentSpanId"] == SPAN_ID
    assert [span["parentSpanId"] for span in stages] == [call["spanId"]] * 3
    assert [(s["name"], s["startTimeUnixNano"], s["endTimeUnixNano"]) for s in stages] == [
        ("validation", "10000000000", "10500000000"),
        ("queue", "10500000000", "11500000000"),
        ("inference", "11500000000", "13500000000"),
    ]
    assert call["status"] == {"code": 1}
    assert call["attributes"] == [{"key": "generated_tokens", "value": {"intValue": "3"}}]


def test_what_took_time_before_the_queue_is_told() -> None:
    stages = [Stage("image_fetch", 100.25, 0.125)]
    (_, fetched, *_) = spans_of(trail(stages=stages))
    assert fetched["name"] == "image_fetch"
    assert fetched["startTimeUnixNano"] == "10250000000"
    assert fetched["endTimeUnixNano"] == "10375000000"


@pytest.mark.parametrize("header", ["", "00-xyz", PARENT.upper(), "00-" + "0" * 10])
def test_a_header_that_is_none_begins_a_new_trace(header: str) -> None:
    call, *_ = spans_of(trail(traceparent=header))
    assert len(call["traceId"]) == 32
    assert call["parentSpanId"] == ""


def test_a_refused_call_is_one_failed_span() -> None:
    (call,) = spans_of(trail(validation_seconds=None, finishes=(), failure="validation"))
    assert call["status"] == {"code": 2, "message": "validation"}


@dataclass
class Collector:
    """What an HTTP server of our own was sent."""

    url: str = ""
    status: int = 200
    paths: list[str] = field(default_factory=list)
    batches: list[dict[str, Any]] = field(default_factory=list)

    @property
    def spans(self) -> list[dict[str, Any]]:
        scopes = [one["scopeSpans"][0] for batch in self.batches for one in batch["resourceSpans"]]
        return [span for scope in scopes for span in scope["spans"]]


@asynccontextmanager
async def collecting(status: int = 200) -> AsyncIterator[Collector]:
    collector = Collector(status=status)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r")[0])
        collector.paths.append(head.split()[1])
        collector.batches.append(json.loads(await reader.readexactly(length)))
        writer.write(f"HTTP/1.1 {collector.status} -\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        collector.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield collector


def test_every_call_reaches_the_collector() -> None:
    async def scenario() -> Collector:
        async with collecting() as collector:
            options: dict[str, Any] = {"otlp_endpoint": collector.url, "otlp_service_name": "mine"}
            async with serve(spell("hello"), **options) as edge, edge.client as client:
                headers = {"traceparent": PARENT}
                await client.post("/generate_stream", json={"inputs": "a"}, headers=headers)
                await client.post("/", json={"inputs": ""})
        return collector

    collector = asyncio.run(scenario())
    assert collector.paths == ["/v1/traces"]
    assert [span["name"] for span in collector.spans] == [
        "generate_stream",
        "validation",
        "queue",
        "inference",
        "compat_generate",
    ]
    assert collector.spans[0]["traceId"] == TRACE_ID
    assert collector.spans[-1]["status"]["code"] == 2
    resource = collector.batches[0]["resourceSpans"][0]["resource"]
    assert resource["attributes"][0]["value"] == {"stringValue": "mine"}


def test_what_a_shard_did_for_a_prompt_is_laid_end_to_end() -> None:
    stages = keep_stages()
    keep_preparation(5.0, pb.PrepareTimings(queue=2 * SECOND, encode=SECOND))
    assert stages == [Stage("image_queue", 5.0, 2.0), Stage("image_encode", 7.0, 1.0)]


def test_the_stages_of_images_and_grammars_are_spans() -> None:
    grammar = {"type": "regex", "value": "a+"}
    body = {"inputs": f"![]({data_uri()})x", "parameters": {"grammar": grammar}}

    async def scenario() -> Collector:
        async with collecting() as collector:
            options: dict[str, Any] = {
                "otlp_endpoint": collector.url,
                "grammars": AcceptingGrammars(),
            }
            async with serve(spell("a"), **options) as edge, edge.client as client:
                assert (await client.post("/generate", json=body)).status_code == 200
        return collector

    spans = asyncio.run(scenario()).spans
    assert {span["name"] for span in spans[1:]} == {
        "image_check",
        "grammar_check",
        "validation",
        "queue",
        "inference",
    }
    assert {span["parentSpanId"] for span in spans[1:]} == {spans[0]["spanId"]}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://127.0.0.1/x", None])
def test_a_collector_that_is_not_there_costs_one_line(
    url: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with collecting(503) as collector, Traces(url or collector.url, "mine") as traces:
            for _ in range(2):
                traces.record(trail())
                await traces.flush()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert caplog.text.count("traces cannot be sent") == 1
