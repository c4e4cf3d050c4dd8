"""Whether a grammar can be used, found out where it can do no harm."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

from inlay_grammars.cache import RecentlyUsed
from inlay_grammars.limits import CompileLimits
from inlay_grammars.process import CompileProcess, ProcessEnded
from inlay_grammars.spec import GrammarError, GrammarSpec, SpecLimits, check_size

MAX_TRIES = 2
"""A compile process that ended may have been killed for another's sake."""
ACCEPTED = ""


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
        max_cached: int = 4096,
    ) -> None:
        """Nothing runs before `start`.

        Args:
            tokenizer_json: what `tokenizers.Tokenizer.to_str()` gives.
            vocab_size: width of the logits, padding included.
            eos_token_ids: every token that ends an answer.
            limits: what one compilation may cost.
            spec_limits: how large a grammar may be.
            max_cached: verdicts kept.
        """
        self._limits = limits or CompileLimits()
        self._spec_limits = spec_limits or SpecLimits()
        self._facts = {
            "tokenizer_json": tokenizer_json,
            "vocab_size": vocab_size,
            "eos_token_ids": list(eos_token_ids),
            "limits": asdict(self._limits),
            "spec_limits": asdict(self._spec_limits),
        }
        self._verdicts: RecentlyUsed[str] = RecentlyUsed(max_cached)
        self._trials: dict[bytes, asyncio.Task[str]] = {}
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

    async def check(self, spec: GrammarSpec) -> None:
        """Return if the grammar can be used. Equal grammars are tried once.

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
        if verdict != ACCEPTED:
            raise GrammarError(verdict)

    @property
    def process_id(self) -> int | None:
        """Of the compile process; None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def num_trials(self) -> int:
        """Grammars that are compiling or wait for it."""
        return len(self._trials)

    def _trial(self, key: bytes, spec: GrammarSpec) -> asyncio.Task[str]:
        if key not in self._trials:
            trial = self._trials[key] = asyncio.create_task(self._try(key, spec))
            trial.add_done_callback(lambda _: self._trials.pop(key))
        return self._trials[key]

    async def _try(self, key: bytes, spec: GrammarSpec) -> str:
        async with self._slots:
            for _ in range(MAX_TRIES):
                try:
                    process = await self._running_process()
                    if self._unsupported is not None:
                        return f"this model's answers cannot be constrained: {self._unsupported}"
                    answer = await process.ask(spec.kind, spec.value)
                except ProcessEnded:
                    continue
                verdict: str = answer["error"] or ACCEPTED
                if answer["is_final"]:
                    self._verdicts.put(key, verdict)
                return verdict
        return "the grammar could not be compiled: the compile process ended, repeatedly"

    async def _running_process(self) -> CompileProcess:
        async with self._process_lock:
            if self._process is not None and self._process.has_ended and not self._unsupported:
                await self._process.stop()
                self._process = None
            if self._process is None:
                self._process, self._unsupported = await CompileProcess.start(self._facts)
            return self._process
