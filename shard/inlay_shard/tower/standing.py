"""A step of a compiled tower whose tensors come again, with the numbers in them moved on."""

from collections.abc import Sequence

from torch import Tensor

from inlay_kernels import Likeliest
from inlay_kernels.decoder import StandingBatch


class StandingStep:
    """What the step before was given, and its arrays as compiled code has them already."""

    def __init__(
        self, given: Sequence[object], batch: StandingBatch, num_positions_left: int
    ) -> None:
        """given: every object that the step depends on. num_positions_left: by how many positions
        its rows may go on before more than their numbers changes."""
        self._given = given
        self._batch = batch
        self._num_positions_left = num_positions_left

    def rated_again(
        self, given: Sequence[object], *, goes_on: bool
    ) -> tuple[Tensor, Likeliest] | None:
        """Logits and likeliest tokens of a step that was given the very same objects, each row of
        them one position further at most; None for another step."""
        if self._num_positions_left == 0 or self._batch.is_over:
            return None
        for own, other in zip(self._given, given, strict=True):
            if own is not other:
                return None
        self._num_positions_left -= 1
        return self.rated(goes_on=goes_on)

    def rated(self, *, goes_on: bool) -> tuple[Tensor, Likeliest]:
        """Of the step itself. goes_on: see `StandingBatch.rated`."""
        return self._batch.rated(goes_on=goes_on and self._num_positions_left > 0)
