"""The answers of `/generate`, `/generate_stream` and `/`, key for key and byte for byte."""

import asyncio
import json
from typing import Any

import pytest

HELLO = [b"H", b"i"]


def tokens(text: str) -> list[dict[str, Any]]:
    """What TGI shows of an answer that the scripted shard spells byte by byte, with its end."""
    spelled = [{"id": ord(c), "text": c, "logprob": -0.5, "special": False} for c in text]
    return [*spelled, {"id": 257, "text": "</s>", "logprob": -0.5, "special": True}]


def test_smoke(serve):
    async def scenario():
        async with serve() as edge:
            async with edge.client as client:
                r = await client.post("/generate", json={"inputs": "x", "parameters": {"details": True}})
                print(r.status_code, r.headers, r.text)
                r = await client.post("/", json={"inputs": "x", "parameters": {"details": True, "seed": 3, "do_sample": True, "best_of": 2}})
                print(r.status_code, r.headers, r.text)
                r = await client.post("/generate_stream", json={"inputs": "x", "parameters": {"details": True, "top_n_tokens": 2}})
                print(r.status_code, r.headers, r.text)
                for p in ("/", "/health", "/info", "/metrics", "/nope"):
                    r = await client.get(p)
                    print(r.status_code, r.headers, r.text[:1500])
                r = await client.put("/generate")
                print(r.status_code, r.headers, r.text[:1500])
            print(edge.service.permits, edge.generation.stats)
    asyncio.run(scenario())
