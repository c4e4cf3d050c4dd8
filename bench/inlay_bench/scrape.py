"""The metrics page of a server, as numbers."""

import asyncio
import re

_SAMPLE = re.compile(r"^(\w+) ([0-9.e+-]+)$", re.MULTILINE)


async def scrape(host: str, port: int) -> dict[str, float]:
    """The samples of `/metrics` that have no labels, by name."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
    page = (await reader.read()).decode()
    writer.close()
    return {name: float(value) for name, value in _SAMPLE.findall(page)}
