"""The compile process: forks a canary for every grammar that it is asked about."""

import os
import selectors
import time
from contextlib import suppress
from dataclasses import asdict
from typing import BinaryIO

from inlay_grammars import wire
from inlay_grammars.backends.tokens import UnsupportedTokenizer
from inlay_grammars.canary import Canary
from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.limits import CompileLimits
from inlay_grammars.spec import GrammarSpec, SpecLimits
from inlay_grammars.trial import trial
from inlay_grammars.verdict import Verdict

NICENESS = 5
"""Compilations give way to whatever serves running requests."""


class Worker:
    """Answers requests, in the order in which their canaries end."""

    def __init__(self, compiler: GrammarCompiler, limits: CompileLimits, answers: BinaryIO) -> None:
        self._compiler = compiler
        self._finishing = Finishing(compiler.tokens)
        self._limits = limits
        self._answers = answers
        self._canaries: dict[int, Canary] = {}
        self._selector = selectors.DefaultSelector()

    def serve(self, requests: BinaryIO) -> None:
        """Until the other end closes `requests`, an unbuffered pipe."""
        self._selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is not requests:
                    self._settle(key.data)
                elif (request := wire.read(requests)) is not None:
                    self._start(request)
                else:
                    return self._end()
            self._end_late_ones()

    def _patience(self) -> float | None:
        deadlines = [canary.deadline for canary in self._canaries.values()]
        return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None

    def _start(self, request: wire.Message) -> None:
        spec = GrammarSpec(**request["spec"])
        canary = Canary(lambda: trial(self._compiler, self._finishing, spec), self._limits)
        self._canaries[request["id"]] = canary
        self._selector.register(canary, selectors.EVENT_READ, request["id"])

    def _settle(self, request_id: int) -> None:
        canary = self._canaries.pop(request_id)
        self._selector.unregister(canary)
        self._report(request_id, canary.verdict())

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        for request_id, canary in list(self._canaries.items()):
            if canary.deadline <= now:
                del self._canaries[request_id]
                self._selector.unregister(canary)
                self._report(request_id, canary.kill())

    def _end(self) -> None:
        for canary in self._canaries.values():
            canary.kill()
        self._selector.close()

    def _report(self, request_id: int, verdict: Verdict | None) -> None:
        known = None if verdict is None else asdict(verdict)
        self._answers.write(wire.encode({"id": request_id, "verdict": known}))


def main() -> None:
    """Reads the model's facts from standard input, then requests; answers on standard output."""
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer
    os.nice(NICENESS)
    facts = wire.read(requests)
    if facts is None:
        return
    try:
        compiler = GrammarCompiler(
            facts["tokenizer_json"],
            facts["vocab_size"],
            facts["eos_token_ids"],
            limits=SpecLimits(**facts["spec_limits"]),
        )
        compiler.make(facts["backend"])  # before any fork, so that no child has to
    except (UnsupportedTokenizer, ImportError) as error:
        answers.write(wire.encode({"error": str(error)}))
        return
    answers.write(wire.encode({"error": None}))
    worker = Worker(compiler, CompileLimits(**facts["limits"]), answers)
    with suppress(BrokenPipeError):
        worker.serve(requests)


if __name__ == "__main__":
    main()
