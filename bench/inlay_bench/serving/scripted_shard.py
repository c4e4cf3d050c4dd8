"""A shard process without a model: it answers steps at once or at a pace, by the contract."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import uvloop

from inlay_proto import generate_pb2 as pb
from inlay_proto.generate_pb2_grpc import ShardServicer, add_ShardServicer_to_server
from inlay_proto.step_pipe import Pipe, offering
from inlay_router.links.scripted_shard import scripted_facts

BLOCK_SIZE = 16
FIRST_TOKEN_ID = 65
NUM_TOKEN_IDS = 26
"""Tokens go round among so many ids, all of them whole characters."""


@dataclass(slots=True)
class Held:
    """A sequence as far as an answer needs it."""

    num_uncomputed: int
    num_left: int


class Script:
    """Chooses the next letter for each row that reached its end; needs no memory of the text."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._row_ids: list[int] = []

    def run(self, step: pb.Step) -> pb.StepResult:
        """One step: leaving, joining, rows."""
        for sequence_id in step.leaving_ids:
            self._held.pop(sequence_id, None)
        for joined in step.joining:
            num_uncomputed = len(joined.token_ids) - joined.num_cached_tokens
            self._held[joined.sequence_id] = Held(num_uncomputed, joined.max_new_tokens)
        result = pb.StepResult(step_id=step.step_id)
        for sequence_id, num_tokens in self._rows(step):
            self._run_row(sequence_id, num_tokens, result)
        num_rows = len(result.sequence_ids)
        result.num_tokens.extend([1] * num_rows)
        result.token_ids.extend([FIRST_TOKEN_ID + step.step_id % NUM_TOKEN_IDS] * num_rows)
        result.logprobs.extend([-0.5] * num_rows)
        return result

    def _rows(self, step: pb.Step) -> list[tuple[int, int]]:
        if not step.HasField("rows"):
            return [(sequence_id, 1) for sequence_id in self._row_ids]
        self._row_ids = list(step.rows.sequence_ids)
        return list(zip(self._row_ids, step.rows.num_tokens, strict=True))

    def _run_row(self, sequence_id: int, num_tokens: int, result: pb.StepResult) -> None:
        held = self._held.get(sequence_id)
        if held is None:
            return
        held.num_uncomputed -= num_tokens
        if held.num_uncomputed:
            return
        held.num_uncomputed = 1
        held.num_left -= 1
        result.sequence_ids.append(sequence_id)
        if not held.num_left:
            result.endings.add(sequence_id=sequence_id, reason=pb.END_REASON_LENGTH)
            del self._held[sequence_id]


class ScriptedService(ShardServicer):
    """Answers the router."""

    def __init__(self, address: str, num_blocks: int, step_seconds: float) -> None:
        self._address = address
        self._facts = scripted_facts(num_blocks=num_blocks, block_size=BLOCK_SIZE)
        self._step_seconds = step_seconds

    async def Health(self, request: pb.HealthRequest, context: Any) -> pb.HealthReply:
        """Always ready."""
        return pb.HealthReply(is_ready=True, status="ready")

    async def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.ModelFacts:
        """A model of letters."""
        return self._facts

    async def Run(self, request_iterator: AsyncIterator[pb.Step], context: Any) -> None:
        """One result a step, all through the pipe; with a pace, no two closer together than it."""
        steps: asyncio.Queue[tuple[Pipe, bytes]] = asyncio.Queue()
        async with offering(self._address, lambda *message: steps.put_nowait(message)) as metadata:
            await context.send_initial_metadata(metadata)
            script = Script()
            loop = asyncio.get_running_loop()
            due = loop.time()
            while True:
                pipe, step = await steps.get()
                result = script.run(pb.Step.FromString(step))
                due = max(due + self._step_seconds, loop.time())
                if self._step_seconds:
                    await asyncio.sleep(due - loop.time())
                pipe.send(result.SerializeToString())


async def serve(address: str, num_blocks: int, step_seconds: float) -> None:
    """Until the process is ended."""
    server = grpc.aio.server()
    register: Any = add_ShardServicer_to_server
    register(ScriptedService(address, num_blocks, step_seconds), server)
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


def main() -> int:
    """Serves at the address on the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--num-blocks", type=int, required=True)
    parser.add_argument("--step-seconds", type=float, required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.address, options.num_blocks, options.step_seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
