"""A bounded store that forgets what was used least recently."""

from collections import OrderedDict
from collections.abc import Hashable


class LeastRecentlyUsed[K: Hashable, V]:
    pass
