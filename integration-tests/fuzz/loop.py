"""Mutates inputs and gives them to a target, following those that make it behave in new ways."""

import asyncio
import hashlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from fuzz.target import SEEDS, Target, Try

_MAX_CORPUS = 2000
_SHARE_OF_RECENT = 0.3
"""How often an input is chosen from those that behaved in a new way lately."""


@dataclass
class Outcome:
    """What came of it."""

    num_inputs: int = 0
    behaviours: set[str] = field(default_factory=set)
    findings: list[str] = field(default_factory=list)
    """Words about each input that was answered wrongly."""
    slowest: tuple[float, bytes] = (0.0, b"")
    """Seconds, and the input that took them."""


Note = Callable[[bytes], None]
"""Told of each input before it is tried, in case that nobody is left to ask afterwards."""


async def run(
    target: Target,
    num_inputs: int,
    seed: int,
    *,
    note: Note,
    outcome: Outcome,
    saves: bool,
    is_first: bool = True,
) -> None:
    """The known inputs, the seeds, and so many more. Findings become known inputs with `saves`.

    Where it is not the first run, known inputs, which may have killed the one before, are left out.
    """
    chance = Random(f"{seed} {target.name}")
    corpus = [*(target.known() if is_first else ()), *target.seeds()]
    async with target.open() as attempt:
        for data in list(corpus):
            await _try(target, attempt, data, note, outcome, saves=False)
        for _ in range(num_inputs):
            data = target.mutate(_choose(corpus, chance), chance.choice(corpus), chance)
            if await _try(target, attempt, data, note, outcome, saves=saves):
                corpus.append(data)
                if len(corpus) > _MAX_CORPUS:
                    corpus.pop(chance.randrange(len(corpus)))


def _choose(corpus: list[bytes], chance: Random) -> bytes:
    recent = corpus[-20:]
    return chance.choice(recent if chance.random() < _SHARE_OF_RECENT else corpus)


async def _try(
    target: Target, attempt: Try, data: bytes, note: Note, outcome: Outcome, *, saves: bool
) -> bool:
    """Whether the target behaved as never before."""
    note(data)
    outcome.num_inputs += 1
    started = time.perf_counter()
    try:
        async with asyncio.timeout(target.seconds):
            behaviour = await attempt(data)
    except TimeoutError:
        behaviour = f"hangs for more than {target.seconds:g} s"
        outcome.findings.append(_report(target, data, behaviour, saves=saves))
    except Exception as error:
        behaviour = f"{type(error).__name__} {_place(error)}"
        if behaviour not in outcome.behaviours:
            words = "".join(traceback.format_exception(error)[-4:])
            outcome.findings.append(_report(target, data, words, saves=saves))
    outcome.slowest = max(outcome.slowest, (time.perf_counter() - started, data[:5000]))
    is_new = behaviour not in outcome.behaviours
    outcome.behaviours.add(behaviour)
    return is_new


def _place(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno}"


def _report(target: Target, data: bytes, words: str, *, saves: bool) -> str:
    """Words about a finding; it is kept, so that it is tried first from now on."""
    name = save(target, data) if saves else "a known input"
    return f"{target.name}: {name}: {words}\n    {data[:200]!r}"


def save(target: Target, data: bytes) -> str:
    """Keep an input; where."""
    folder = SEEDS / target.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return str(path.relative_to(SEEDS.parent.parent))
