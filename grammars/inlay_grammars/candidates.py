"""Tokens that are worth trying, in which order, by whoever wants an answer to end."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from tokenizers import Tokenizer

Ids = tuple[int, ...]

_PUNCTUATION = "-@./_: ,;+=*#!?&%$|~^'`()<>\\"
_DIGITS = "0123456789"
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MAX_RUN = 64
_MAX_RUNS = 16
_MAX_CLOSERS = 4


class Closing(NamedTuple):
    """A closing character."""

    alone: Ids
    longest_first: Sequence[Ids]
    """Tokens that begin with it and close more, and at last itself."""


class Candidates:
    """Of one tokenizer. Each entry is the tokens of a short text, mostly one."""

    brackets: Sequence[Closing]
    """Of objects and arrays."""
    quote: Closing
    """Of strings."""
    probes: Sequence[Ids]
    """Letters that stand in free text, and between JSON tokens nowhere."""
    structure: Sequence[Sequence[Ids]]
    """What else can follow between JSON tokens, in groups: the first allowed one of each will
    do."""
    digits: Sequence[Ids]
    """Of numbers."""
    openers: Sequence[Ids]
    """What begins a value of many tokens."""
    singles: Sequence[Ids]
    """What text can go on by: punctuation and letters."""
    runs: Sequence[Ids]
    """Long runs of one character, the longest first."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Takes about a millisecond."""
        self._tokenizer = tokenizer
        self.brackets = [self._closing(bracket) for bracket in "}]"]
        self.quote = self._closing('"')
        self.probes = self._known("zQ_~")
        literals = [self.encode(text) for text in ("null", "true", "false")]
        self.structure = [self._known(":"), self._known(","), literals]
        self.digits = self._known(_DIGITS)
        self.openers = self._known("[{-")
        self.singles = self._known(_PUNCTUATION + _LETTERS + '"{}[]\n')
        self.runs = self._equal_characters()

    def encode(self, text: str) -> Ids:
        """The tokens of any text, as a model would write it."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of tokens."""
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=False)

    def _known(self, texts: Iterable[str]) -> list[Ids]:
        return [ids for text in texts if (ids := _token(self._tokenizer, text))]

    def _closing(self, first: str) -> Closing:
        lengths = range(_MAX_CLOSERS - 1, 0, -1)
        tails = ["".join(tail) for length in lengths for tail in product("}]", repeat=length)]
        longest_first = self._known([*(first + tail for tail in tails), first])
        return Closing(longest_first[-1] if longest_first else (), longest_first)

    def _equal_characters(self) -> list[Ids]:
        """Tokens of many equal characters, the longest first: a text may have to be long."""
        lengths = [_MAX_RUN >> shift for shift in range(5)]
        found = self._known(char * length for length in lengths for char in "-=* #_.0a")
        return found[:_MAX_RUNS]


def _token(tokenizer: Tokenizer, text: str) -> Ids:
    """The one token that is `text`; nothing if there is none. Vocabularies write a space as Ġ or ▁
    and a new line as Ċ, and other ASCII as it is; that of bytes, as `<0x0A>`."""
    for spelling in (text.replace(" ", "Ġ").replace("\n", "Ċ"), text.replace(" ", "▁")):
        token_id = tokenizer.token_to_id(spelling)
        if token_id is not None:
            return (token_id,)
    if len(text) == 1 and (token_id := tokenizer.token_to_id(f"<0x{ord(text):02X}>")) is not None:
        return (token_id,)
    return ()
