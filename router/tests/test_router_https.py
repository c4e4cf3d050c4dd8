"""The router as a process behind TLS and a file of keys."""

import asyncio
import ssl
from pathlib import Path

import httpx
import trustme
from test_router_main import router, shard
from test_tls import write


def test_it_serves_https_to_who_has_a_key(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = write(authority.issue_cert("127.0.0.1"), tmp_path)
    keys = tmp_path / "keys"
    keys.write_text("s3cret\n")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    flags = ["--port", "0", "--tls-cert", str(certificate), "--tls-key", str(key)]
    flags += ["--api-key-file", str(keys)]

    async def scenario() -> None:
        async with shard(tmp_path) as (_, address), router(address, *flags) as process:
            assert process.stdout is not None
            line = (await process.stdout.readline()).decode()
            assert line.startswith("inlay is ready: https://")
            url = line.removeprefix("inlay is ready: ").strip()
            async with httpx.AsyncClient(base_url=url, verify=trust) as client:
                body = {"inputs": "x"}
                assert (await client.post("/generate", json=body)).status_code == 401
                headers = {"authorization": "Bearer s3cret"}
                answer = await client.post("/generate", json=body, headers=headers)
                assert answer.json() == {"generated_text": "a" * 50}
            async with httpx.AsyncClient(base_url=url.replace("https", "http")) as client:
                try:
                    await client.get("/health")
                    raise AssertionError("plain HTTP was answered")
                except httpx.TransportError:
                    pass

    asyncio.run(scenario())
