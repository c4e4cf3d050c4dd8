"""Penalties on tokens that a sequence already holds, at a flat cost per step."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class PenaltyState:
    """Which distinct tokens a sequence holds, and how often each stands in its answer.

    A sequence owns one and passes it with every row; each read takes in only what is new.
    """

    def __init__(self) -> None:
        self._places: dict[int, int] = {}
        self._token_ids: NDArray[np.int64] = np.zeros(64, np.int64)
        self._counts: NDArray[np.float32] = np.zeros(64, np.float32)
        self._num_outputs = 0
        self._has_prompt = False

    def __repr__(self) -> str:
        return f"PenaltyState(num_distinct={len(self._places)}, num_outputs={self._num_outputs})"

    @property
    def token_ids(self) -> NDArray[np.int64]:
        """Distinct tokens of prompt and answer: (n,)."""
        return self._token_ids[: len(self._places)]

    @property
    def counts(self) -> NDArray[np.float32]:
        """How often each of `token_ids` stands in the answer: (n,), 0 if only in the prompt."""
        return self._counts[: len(self._places)]

    def read(self, prompt_ids: Sequence[int], output_ids: Sequence[int]) -> None:
        """Take in the prompt, once, and the tokens of the answer not seen before.

        Both must be those of the call before, except that the answer may have grown.
        """
        if not self._has_prompt:
            self._has_prompt = True
            for token_id in prompt_ids:
                self._place(token_id)
        for token_id in output_ids[self._num_outputs :]:
            place = self._place(token_id)
            self._counts[place] += 1
        self._num_outputs = len(output_ids)

    def _place(self, token_id: int) -> int:
        """Where a token stands in the arrays, which double when they are full."""
        place = self._places.setdefault(token_id, len(self._places))
        if place == len(self._token_ids):
            self._token_ids = np.concatenate([self._token_ids, np.zeros_like(self._token_ids)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._token_ids[place] = token_id
        return place


def penalise(
    logits: Tensor,
    states: Sequence[PenaltyState],
    repetition_penalties: Sequence[float],
    frequency_penalties: Sequence[float],
    presence_penalties: Sequence[float],
) -> None:
    """Penalise each row for the tokens that its sequence holds, in place.

    logits: (rows, vocab_size), floating point; the other arguments have one entry a row.
    Repetition (Keskar et al., CTRL, 2019): the logit of each token of prompt or answer is divided
    by the penalty where positive and multiplied by it where negative; 1 is neutral. Frequency
    (OpenAI): the penalty is subtracted once for each time that the token stands in the answer;
    0 is neutral. Presence (OpenAI): subtracted once if the token stands in the answer at all.
    """
    lengths = [len(state.token_ids) for state in states]
    rows = np.repeat(np.arange(len(states)), lengths)
    token_ids = np.concatenate([state.token_ids for state in states])
    frequency = np.repeat(np.asarray(frequency_penalties, np.float32), lengths)
    presence = np.repeat(np.asarray(presence_penalties, np.float32), lengths)
    counts = np.concatenate([state.counts for state in states])
    subtrahend = frequency * counts + presence * (counts > 0)
    factor = np.repeat(np.asarray(repetition_penalties, np.float32), lengths)

    places = torch.from_numpy(rows * logits.shape[1] + token_ids).to(logits.device)
    penalty = torch.from_numpy(factor).to(logits)
    held = logits.view(-1)[places]
    held = torch.where(held > 0, held / penalty, held * penalty)
    logits.view(-1)[places] = held - torch.from_numpy(subtrahend).to(logits)


def add_biases(
    logits: Tensor, token_ids: Sequence[Sequence[int]], biases: Sequence[Sequence[float]]
) -> None:
    """Add to each row's logits the biases of the tokens it names, none twice, in place.

    logits: (rows, vocab_size), floating point; the other arguments have one entry a row.
    """
    rows = np.repeat(np.arange(len(token_ids)), [len(ids) for ids in token_ids])
    places = rows * logits.shape[1] + np.concatenate([np.asarray(i, np.int64) for i in token_ids])
    summand = np.concatenate([np.asarray(row, np.float32) for row in biases])
    logits.view(-1)[torch.from_numpy(places).to(logits.device)] += torch.from_numpy(summand).to(
        logits
    )
