"""What an answer may not hold: an early end, bad words, and what is not allowed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb
from inlay_router.errors import ValidationError
from inlay_router.service import Service
from inlay_router.text.tokenizer import Tokenizer

_NEVER = (1 << 32) - 1
"""More tokens than an answer has."""
_MAX_RUNS = 1024
"""Bad words and tokens, which are looked for at every token."""


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """Those of one answer. None goes with a grammar, which says itself what an answer holds."""

    min_tokens: int = 0
    """No end token, and no stop token of the request, is among the first so many."""
    ignores_eos: bool = False
    """Whether no end token is chosen at all."""
    bad_words: Sequence[str] = ()
    """Texts, as the tokenizer writes them, alone and behind a space; other tokens may still make
    them up."""
    bad_token_ids: Sequence[int] = ()
    allowed_token_ids: Sequence[int] = ()
    """The only tokens of the answer, unless there are none."""

    def __bool__(self) -> bool:
        """Whether anything is excluded."""
        words = self.bad_words or self.bad_token_ids or self.allowed_token_ids
        return bool(words) or self.min_tokens > 0 or self.ignores_eos

    def put_into(
        self, sampling: pb.Sampling, service: Service, stop_token_ids: Collection[int]
    ) -> None:
        """Add them to the controls of a request. Raises ValidationError."""
        if self.ignores_eos or self.min_tokens:
            end_ids = service.facts.eos_token_ids
            early_ids = () if self.ignores_eos else stop_token_ids
            sampling.min_tokens = _NEVER if self.ignores_eos else self.min_tokens
            sampling.late_token_ids.extend(sorted({*end_ids, *early_ids}))
        _check_ids("allowed_token_ids", self.allowed_token_ids, service.limits.vocab_size)
        sampling.allowed_token_ids.extend(dict.fromkeys(self.allowed_token_ids))
        runs = list(self._runs(service.generation.tokenizer, service.limits.vocab_size))
        if len(runs) > _MAX_RUNS:
            raise ValidationError(f"bad words may be up to {_MAX_RUNS}. Given: {len(runs)}")
        sampling.bad_runs.extend(pb.TokenRun(token_ids=run) for run in runs)

    def _runs(self, tokenizer: Tokenizer, vocab_size: int) -> Iterator[tuple[int, ...]]:
        _check_ids("bad_token_ids", self.bad_token_ids, vocab_size)
        yield from ((token_id,) for token_id in self.bad_token_ids)
        for word in self.bad_words:
            texts = (word, f" {word.lstrip()}")
            runs = {tuple(tokenizer.encode(text, add_special_tokens=False)) for text in texts}
            yield from filter(None, runs)


def _check_ids(name: str, token_ids: Sequence[int], vocab_size: int) -> None:
    for token_id in token_ids:
        if not 0 <= token_id < vocab_size:
            raise ValidationError(f"`{name}` must be >= 0 and < {vocab_size}. Given: {token_id}")
