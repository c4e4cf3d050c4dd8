"""The floor under a decode step: what the machine needs for its bytes and its arithmetic."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MachineSpeed:
    """Best of a few tries, with the threads that both sides use."""

    bytes_per_second: float
    """Reading memory that no cache holds."""
    flops_per_second: float
    """Multiplying large matrices of the measured type; one multiply-add counts as two."""

    def read_milliseconds(self, num_weights: int, num_weight_bytes: int) -> float:
        """To read every weight once: no decode step is shorter."""
        return 1000 * num_weights * num_weight_bytes / self.bytes_per_second

    def multiply_milliseconds(self, num_weights: int, num_streams: int) -> float:
        """To multiply every weight with one row a stream."""
        return 1000 * 2 * num_weights * num_streams / self.flops_per_second
