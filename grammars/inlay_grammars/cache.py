"""A bounded store that forgets what was used least recently."""

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class RecentlyUsed(Generic[Value]):
    """Up to `max_entries` values by key, of `max_bytes` together. For one thread."""

    def __init__(self, max_entries: int, max_bytes: int | None = None) -> None:
        """max_bytes: None if values have no size."""
        self._entries: OrderedDict[bytes, tuple[Value, int]] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def num_bytes(self) -> int:
        """Of all values together."""
        return self._num_bytes

    def get(self, key: bytes) -> Value | None:
        """The value, which becomes the youngest; None if it is not or no longer there."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: bytes, value: Value, num_bytes: int = 0) -> None:
        """Keep `value`, and forget the oldest ones if there are too many.

        One that is larger than all values may be together is not kept.
        """
        self._forget(key)
        self._entries[key] = value, num_bytes
        self._num_bytes += num_bytes
        while self._is_full:
            self._forget(next(iter(self._entries)))

    @property
    def _is_full(self) -> bool:
        is_large = self._max_bytes is not None and self._num_bytes > self._max_bytes
        return is_large or len(self._entries) > self._max_entries

    def _forget(self, key: bytes) -> None:
        _, num_bytes = self._entries.pop(key, (None, 0))
        self._num_bytes -= num_bytes
