"""A bounded store that forgets what was used least recently."""

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class RecentlyUsed(Generic[Value]):
    """Up to `max_entries` values by key. For one thread."""

    def __init__(self, max_entries: int) -> None:
        self._entries: OrderedDict[bytes, Value] = OrderedDict()
        self._max_entries = max_entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Value | None:
        """The value, which becomes the youngest; None if it is not or no longer there."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: bytes, value: Value) -> None:
        """Keep `value`, and forget the oldest one if there are too many."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
