"""Prepares prompts with images on the replica, and finds the one that keeps killing it."""

import logging
from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import GenerationFailed, ValidationError
from inlay_router.faults.convictions import Convictions, name_of_preparation
from inlay_router.faults.presence import Presence
from inlay_router.faults.seclusion import Seclusion
from inlay_router.links.link import Link, LinkLost, PreparationRefused

_logger = logging.getLogger(__name__)

_NUM_LOSSES_OF_A_SUSPECT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Preparations:
    """Calls of Prepare, each of which may be what the replica dies of.

    One that was under way when the replica was lost twice is suspected, and is tried alone: either
    it succeeds, or it is convicted. A culprit costs three deaths, however many were beside it.
    """

    link: Link
    seclusion: Seclusion
    convictions: Convictions
    presence: Presence

    async def run(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        """Prepare a prompt on every rank; waits out a restart of the shards.

        Raises ValidationError when the model's processor refuses it, and GenerationFailed when
        it stops the shards, IncompleteGeneration when they never come back.
        """
        if self.convictions.holds(lambda: name_of_preparation(request)):
            raise _conviction()
        num_losses = 0
        while True:
            await self.presence.until_here()
            is_suspect = num_losses >= _NUM_LOSSES_OF_A_SUSPECT
            turn = self.seclusion.alone() if is_suspect else self.seclusion.beside_others()
            async with turn:
                if not self.presence.is_here:
                    continue  # it went away while others had their turns
                try:
                    return await self.link.prepare(request)
                except PreparationRefused as refusal:
                    raise ValidationError(str(refusal)) from refusal
                except LinkLost as lost:
                    _logger.warning("a prompt could not be prepared: %s", lost)
                    # Else the next suspect would be tried on a dead connection, and blamed.
                    await self.presence.until_noticed()
            if is_suspect:
                self.convictions.add(name_of_preparation(request))
                raise _conviction()
            num_losses += 1


def _conviction() -> GenerationFailed:
    return GenerationFailed("its images could not be prepared: they stop the shard")
