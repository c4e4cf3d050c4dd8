"""How long to wait before a replica that went away is tried again."""

import asyncio

SECONDS_MAX = 2.0
"""Of one pause."""
_NUM_DOUBLINGS_MAX = 10


async def pause(seconds: float, num_failures: int) -> None:
    """Wait `seconds`, twice as long for each further failure, up to SECONDS_MAX."""
    await asyncio.sleep(min(seconds * 2 ** min(num_failures, _NUM_DOUBLINGS_MAX), SECONDS_MAX))
