"""A flattened batch cut into parts that modules compute one after the other, as batches of rows.

All rows of one token that go on from a state are a part; every other row is one of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

Places: TypeAlias = slice | Tensor
"""Indices along a dimension: a slice where they follow one another, else int64 (n,)."""


class StateRow(NamedTuple):
    """A row of a step, as recurrent layers see it."""

    slot: int
    """Where the states of its sequence are."""
    num_tokens: int
    has_state: bool
    """Whether tokens before it were computed; if not, what is in the slot is of no use."""


class Part(NamedTuple):
    """Rows that a module computes in one call, all of them as long."""

    tokens: Places
    """Places of their tokens in the flattened batch, row by row."""
    slots: Places
    num_rows: int
    num_tokens: int
    """Of each row."""
    has_state: bool


@dataclass(frozen=True)
class Parts:
    """A flattened batch cut into parts, in an order that modules may compute them in."""

    num_tokens: int
    """Of the batch."""
    by_row: Sequence[Part]
    by_token: Sequence[Part]
    """The same for modules that go on from a state by one token at a time."""


def cut(rows: Sequence[StateRow], device: torch.device) -> Parts:
    """Cut a batch of these rows into parts."""
    starts = [0]
    for row in rows:
        starts.append(starts[-1] + row.num_tokens)
    single = [place for place, row in enumerate(rows) if row.num_tokens == 1 and row.has_state]
    parts, by_token = [], []
    if single:
        tokens = places([starts[place] for place in single], device)
        slots = places([rows[place].slot for place in single], device)
        parts.append(Part(tokens, slots, len(single), 1, True))
        by_token.append(parts[0])
    for row, start in zip(rows, starts, strict=False):
        if row.num_tokens == 1 and row.has_state:
            continue
        slot = slice(row.slot, row.slot + 1)
        part = Part(slice(start, start + row.num_tokens), slot, 1, row.num_tokens, row.has_state)
        parts.append(part)
        by_token += _token_by_token(part, start) if row.has_state else [part]
    return Parts(starts[-1], parts, by_token)


def _token_by_token(part: Part, start: int) -> list[Part]:
    """The same row as one part for each of its tokens."""
    ends = range(start + 1, start + part.num_tokens + 1)
    return [part._replace(tokens=slice(end - 1, end), num_tokens=1) for end in ends]


def places(indices: list[int], device: torch.device) -> Places:
    """Indices as they are fastest to look up; a slice is not copied from."""
    first = indices[0]
    if indices == list(range(first, first + len(indices))):
        return slice(first, first + len(indices))
    return torch.tensor(indices, device=device)


def of_part(entry: Any, part: Part, num_tokens: int) -> Any:
    """What of an argument belongs to a part: of a tensor (1, num_tokens, …) those of its tokens as
    (rows, tokens of a row, …); of all else everything."""
    if isinstance(entry, tuple):
        return tuple(of_part(each, part, num_tokens) for each in entry)
    if not isinstance(entry, Tensor) or entry.shape[:2] != (1, num_tokens):
        return entry
    return entry[0, part.tokens].reshape(part.num_rows, part.num_tokens, *entry.shape[2:])


def joined(answers: Sequence[Any], parts: Sequence[Part], num_tokens: int) -> Any:
    """The answers of parts (rows, tokens of a row, …) as one of the batch (1, num_tokens, …); what
    else modules answer is that of the first part."""
    first = answers[0]
    if isinstance(first, tuple):
        return tuple(joined(each, parts, num_tokens) for each in zip(*answers, strict=True))
    pairs = zip(answers, parts, strict=True)
    if not all(_is_of_tokens(answer, part) for answer, part in pairs):
        return first
    if len(parts) == 1:
        return first.reshape(1, num_tokens, *first.shape[2:])
    whole = first.new_empty(1, num_tokens, *first.shape[2:])
    for answer, part in zip(answers, parts, strict=True):
        whole[0, part.tokens] = answer.flatten(0, 1)
    return whole


def _is_of_tokens(answer: Any, part: Part) -> bool:
    return isinstance(answer, Tensor) and answer.shape[:2] == (part.num_rows, part.num_tokens)
