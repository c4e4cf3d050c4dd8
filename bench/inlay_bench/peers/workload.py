"""What engines are asked, and the one figure that each answer gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from tokenizers import Tokenizer

from inlay_bench.adapters.stream import Prompt, Stream
from inlay_bench.batch import BenchFailed
from inlay_bench.peers.recipe import Kind
from inlay_bench.prompts import draw_picture
from inlay_bench.vocabulary import WORDS

Measure = Literal["decode", "prefill", "images", "new image", "repeated image"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    measure: Measure
    num_prompts: int = 1
    num_prompt_tokens: int = 16
    """Words of each prompt; a picture comes on top."""
    num_new_tokens: int = 1

    @property
    def kind(self) -> Kind:
        """What it asks about."""
        return "text" if self.measure in ("decode", "prefill") else "image"

    @property
    def unit(self) -> str:
        """Of its figure; only milliseconds are better when they are fewer."""
        return {"decode": "tokens/s", "prefill": "tokens/s", "images": "images/s"}.get(
            self.measure, "ms"
        )

    @property
    def is_more_better(self) -> bool:
        """Whether the engine with the largest figure is the best."""
        return self.unit != "ms"

    def __str__(self) -> str:
        match self.measure:
            case "decode":
                return f"decode, {self.num_prompts} stream{'s' * (self.num_prompts > 1)}"
            case "prefill":
                return f"prefill, {self.num_prompt_tokens} tokens"
            case "images":
                return f"{self.num_prompts} new images at once"
            case _:
                return f"first token, {self.measure}"


@dataclass(frozen=True)
class Words:
    """Writes prompts of words that are one token each, and that come only once."""

    tokenizer: Tokenizer

    def prompt(self, random: Random, num_tokens: int, picture: bytes | None = None) -> Prompt:
        """One prompt of exactly `num_tokens` tokens beside its picture."""
        words = [" " + word for word in random.choices(WORDS, k=num_tokens)]
        text = "".join(words)
        token_ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        assert len(token_ids) == num_tokens
        return Prompt(token_ids=token_ids, text=text, picture=picture)


def batches(row: Row, words: Words, seed: str) -> list[list[Prompt]]:
    """What is handed over, one batch after the other; the last one is measured."""
    random = Random(seed)
    if row.measure == "repeated image":
        picture = draw_picture(random)
        return [[words.prompt(random, row.num_prompt_tokens, picture)] for _ in range(2)]
    return [
        [
            words.prompt(
                random, row.num_prompt_tokens, draw_picture(random) if row.kind == "image" else None
            )
            for _ in range(row.num_prompts)
        ]
    ]


def figure(row: Row, streams: Sequence[Stream]) -> float:
    """The row's figure from the answers to its last batch. Raises BenchFailed."""
    lengths = [len(stream.arrivals) for stream in streams]
    if len(streams) != row.num_prompts or min(lengths) < row.num_new_tokens:
        raise BenchFailed(f"{row.num_new_tokens} tokens were asked for, got {lengths}")
    last_first = max(stream.arrivals[0] for stream in streams)
    match row.measure:
        case "decode":
            return decode_rate(streams)
        case "prefill":
            return row.num_prompts * row.num_prompt_tokens / last_first
        case "images":
            return row.num_prompts / last_first
        case _:
            return 1000 * last_first


def decode_rate(streams: Sequence[Stream]) -> float:
    """Tokens a second while all streams decode: from the last first token to the first last one.

    Raises BenchFailed when there is no such time.
    """
    start = max(stream.arrivals[0] for stream in streams)
    end = min(stream.arrivals[-1] for stream in streams)
    if end <= start:
        raise BenchFailed("a stream had ended before another one began: ask for more tokens")
    arrivals = [arrival for stream in streams for arrival in stream.arrivals]
    return sum(start < arrival <= end for arrival in arrivals) / (end - start)
