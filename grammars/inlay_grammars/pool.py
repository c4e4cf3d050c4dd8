"""Whether a grammar can be used, found out where it can do no harm."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace

from inlay_grammars.cache import RecentlyUsed
from inlay_grammars.limits import CompileLimits
from inlay_grammars.options import BackendChoice
from inlay_grammars.process import CompileProcess, ProcessEnded
from inlay_grammars.spec import GrammarError, GrammarSpec, SpecLimits, check_size
from inlay_grammars.verdict import Verdict

MAX_CACHED = 16_384
"""Verdicts kept, refusals among them."""
MAX_CACHED_BYTES = 16 * 1024 * 1024
MAX_TRIES = 3
"""A process that ended may have been killed for another's sake."""


class CompilePool:
    """Compiles grammars on trial in processes that may die of them. For one event loop.

    One process builds the tokenizer and forks a canary for each grammar: about 5 ms, against
    seconds for a new process. This module imports nothing heavy.
    """

    def __init__(
        self,
        tokenizer_json: str,
        vocab_size: int,
        eos_token_ids: Sequence[int],
        *,
        limits: CompileLimits | None = None,
        spec_limits: SpecLimits | None = None,
        backend: BackendChoice = "auto",
    ) -> None:
        """Nothing runs before `start`.

        Args:
            tokenizer_json: what `tokenizers.Tokenizer.to_str()` gives.
            vocab_size: width of the logits, padding included.
            eos_token_ids: every token that ends an answer.
            limits: what one compilation may cost.
            spec_limits: how large a grammar may be.
            backend: which one most grammars will be for; the process makes it when it starts.
        """
        self._limits = limits or CompileLimits()
        self._spec_limits = spec_limits or SpecLimits()
        self._facts = {
            "tokenizer_json": tokenizer_json,
            "vocab_size": vocab_size,
            "eos_token_ids": list(eos_token_ids),
            "limits": asdict(self._limits),
            "spec_limits": asdict(self._spec_limits),
            "backend": backend,
        }
        self._verdicts: RecentlyUsed[Verdict] = RecentlyUsed(MAX_CACHED, MAX_CACHED_BYTES)
        self._trials: dict[bytes, asyncio.Task[Verdict]] = {}
        self._slots = asyncio.Semaphore(self._limits.max_workers)
        self._process: CompileProcess | None = None
        self._process_lock = asyncio.Lock()
        self._unsupported: str | None = None

    async def start(self) -> None:
        """Start the compile process: seconds for a large tokenizer.

        A tokenizer that grammars cannot be used with is no error here: every `check` says so.

        Raises:
            ProcessEnded: the process ended before it was ready.
        """
        await self._running_process()

    async def stop(self) -> None:
        """End the compile process and every trial."""
        trials = list(self._trials.values())
        for trial in trials:
            trial.cancel()
        await asyncio.gather(*trials, return_exceptions=True)
        async with self._process_lock:
            if self._process is not None:
                await self._process.stop()
                self._process = None

    async def check(self, spec: GrammarSpec) -> Verdict:
        """Return if the grammar can be used, with what is known of it. Equal ones are tried once.

        Raises:
            GrammarError: it cannot, and why; also when it takes too much time or memory, or
                kills the process that compiles it.
        """
        check_size(spec, self._spec_limits)
        key = spec.digest()
        verdict = self._verdicts.get(key)
        if verdict is None:
            # A client that goes away takes no one else's verdict with it.
            verdict = await asyncio.shield(self._trial(key, spec))
        if verdict.error is not None:
            raise GrammarError(verdict.error)
        return verdict

    @property
    def process_id(self) -> int | None:
        """Of the compile process; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def num_trials(self) -> int:
        """Grammars that are compiling or wait for it."""
        return len(self._trials)

    def _trial(self, key: bytes, spec: GrammarSpec) -> asyncio.Task[Verdict]:
        if key not in self._trials:
            trial = self._trials[key] = asyncio.create_task(self._try(key, spec))
            trial.add_done_callback(lambda _: self._trials.pop(key))
        return self._trials[key]

    async def _try(self, key: bytes, spec: GrammarSpec) -> Verdict:
        async with self._slots:
            for _ in range(MAX_TRIES):
                try:
                    process = await self._running_process()
                    if self._unsupported is not None:
                        return _unsupported(self._unsupported)
                    verdict = await _judge(process, spec)
                except ProcessEnded:
                    continue
                if verdict.is_final:
                    self._verdicts.put(key, verdict, verdict.num_bytes)
                return verdict
        return Verdict(
            error="the grammar could not be compiled: the compile process ended, repeatedly"
        )

    async def _running_process(self) -> CompileProcess:
        async with self._process_lock:
            if self._process is not None and self._process.has_ended and not self._unsupported:
                await self._process.stop()
                self._process = None
            if self._process is None:
                self._process, self._unsupported = await CompileProcess.start(self._facts)
            return self._process


async def _judge(process: CompileProcess, spec: GrammarSpec) -> Verdict:
    """A backend may need more than the limits allow for a grammar that llguidance is quick with."""
    verdict = await process.ask(spec)
    if verdict.error is not None and spec.backend not in ("auto", "llguidance"):
        return await process.ask(replace(spec, backend="llguidance"))
    return verdict


def _unsupported(reason: str) -> Verdict:
    return Verdict(error=f"this model's answers cannot be constrained: {reason}")
