"""A batch whose arrays stay where they are, while the numbers in them move on from step to step."""

import torch
from torch import Tensor

from inlay_kernels.decoder.arrays import Rating
from inlay_kernels.decoder.rounds import Rounds
from inlay_kernels.sampling.likeliest import Likeliest


class StandingBatch:
    """A batch with its answers, and the rounds that compute them."""

    def __init__(self, rounds: Rounds, logits: Tensor, rating: Rating) -> None:
        """rounds: fill `logits` and `rating`."""
        self._rounds = rounds
        self._logits = logits
        self._likeliest = [
            Likeliest(*(torch.from_numpy(part[turn]) for part in rating[:3])) for turn in (0, 1)
        ]

    @property
    def is_over(self) -> bool:
        """Whether it was given up."""
        return self._rounds.is_over

    def rated(self, *, goes_on: bool = False) -> tuple[Tensor, Likeliest]:
        """Logits (kept tokens, outputs) of what is in the arrays, and the likeliest tokens; good
        until the next call.

        goes_on: whether threads may begin the next step before it is asked for, if they can. It
        must be that of the same rows, each of one kept token and no other, with their likeliest
        tokens one position further, whose block is in the tables and whose rotation in theirs.
        When they do, all arrays have been put there before this answers, and the logits change
        meanwhile.
        """
        self._rounds.run(goes_on=goes_on)
        return self._logits, self._likeliest[self._rounds.number % 2]

    def give_up(self) -> None:
        """It is asked for nothing any more; nobody computes it behind this."""
        self._rounds.stop()
