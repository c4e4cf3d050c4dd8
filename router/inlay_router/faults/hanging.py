"""Notices a replica that lives and answers no more, and ends it so that it is started again."""

import asyncio
import time
from typing import NoReturn

from inlay_proto import generate_pb2 as pb
from inlay_router.faults.patience import Patience
from inlay_router.links.link import Link, LinkLost

_NUM_LOOKS = 8
"""How often it is looked at within the time that it has."""


async def connect(link: Link, patience: Patience) -> pb.ModelFacts:
    """Connect, which takes as long as the model loads; a replica that falls silent meanwhile is
    ended, and LinkLost raised."""
    patience.reset()
    connecting = asyncio.create_task(link.connect())
    watching = asyncio.create_task(end_if_hung(link, patience))
    try:
        await asyncio.wait((connecting, watching), return_when=asyncio.FIRST_COMPLETED)
        return connecting.result() if connecting.done() else watching.result()
    finally:
        connecting.cancel()
        watching.cancel()
        await asyncio.gather(connecting, watching, return_exceptions=True)


async def end_if_hung(link: Link, patience: Patience) -> NoReturn:
    """Watch until a step takes too long, or until a shard does not say that it lives.

    Then the replica is ended, and LinkLost raised.
    """
    while True:
        await asyncio.sleep(patience.seconds / _NUM_LOOKS)
        is_late = patience.is_over(time.monotonic())
        if is_late or not await link.is_alive(within=patience.seconds):
            await link.end()
            raise LinkLost("it lives and does not answer")
