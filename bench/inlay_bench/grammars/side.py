"""A process that holds one backend, and forks for every schema that it is asked about."""

import asyncio
import os
import sys
from typing import BinaryIO

import msgspec

from inlay_bench.batch import BenchFailed
from inlay_bench.grammars.trial import Question, Trial, try_out
from inlay_bench.grammars.vocabularies import Vocabulary
from inlay_bench.grammars.walkers import WALKERS
from inlay_bench.processes import child_environment, stop

MAX_LINE_BYTES = 256 * 2**20
READY = b"ready\n"
WARM_UP = '{"type": "boolean"}'


class Side:
    """Our end of one such process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Use `start`."""
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, vocabulary: Vocabulary) -> "Side":
        """A process with its backend loaded: seconds. Raises BenchFailed when it cannot be."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "inlay_bench.grammars.side", name),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=child_environment(1),
            limit=MAX_LINE_BYTES,
        )
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(msgspec.json.encode(vocabulary) + b"\n")
        if await process.stdout.readline() != READY:
            assert process.stderr is not None
            words = (await process.stderr.read()).decode(errors="replace").strip()
            raise BenchFailed(f"{name} cannot be loaded: {words.splitlines()[-1:]}")
        return cls(name, process)

    async def ask(self, question: Question) -> Trial:
        """What becomes of a schema. Raises BenchFailed when the process itself ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(msgspec.json.encode(question) + b"\n")
        await stdin.drain()
        line = await stdout.readline()
        if not line:
            raise BenchFailed(f"the process of {self.name} ended")
        return msgspec.json.decode(line, type=Trial)

    async def stop(self) -> None:
        """End the process."""
        await stop(self._process)


def serve(name: str, requests: BinaryIO, answers: BinaryIO) -> None:
    """Load the backend, then answer line by line until `requests` is closed."""
    vocabulary = msgspec.json.decode(requests.readline(), type=Vocabulary)
    walker = WALKERS[name](vocabulary)
    walker.compile(WARM_UP)  # Outlines imports much at its first use
    answers.write(READY)
    answers.flush()
    for line in requests:
        trial = try_out(walker, msgspec.json.decode(line, type=Question))
        answers.write(msgspec.json.encode(trial) + b"\n")
        answers.flush()


def main() -> None:
    """Reads standard input; what libraries print is no answer."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.argv[1], sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
