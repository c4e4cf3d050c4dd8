"""How much of the time of grammar masks is hidden behind the model."""

from collections.abc import Mapping

import msgspec

_FILL, _WAIT = "inlay_step_fill_duration_sum", "inlay_step_mask_duration_sum"
_STEPS = "inlay_step_duration_count"


class MaskTimes(msgspec.Struct, frozen=True, kw_only=True):
    """Of the steps of one round, in microseconds a step."""

    filling: float
    """Until the masks of all rows were written."""
    waiting: float
    """What the step had to wait for them once the model had run."""

    @property
    def hidden(self) -> float:
        """The share of the filling that cost the step nothing, in [0, 1]."""
        return 1 - min(1.0, self.waiting / self.filling) if self.filling else 1.0


def mask_times(before: Mapping[str, float], after: Mapping[str, float]) -> MaskTimes:
    """From the metrics before a round and after it."""
    num_steps = after[_STEPS] - before[_STEPS]
    filling, waiting = (1e6 * (after[name] - before[name]) / num_steps for name in (_FILL, _WAIT))
    return MaskTimes(filling=round(filling, 1), waiting=round(waiting, 1))
