"""When a process that died may start again, and when it has died too often."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """Limits of restarting."""

    first_delay_seconds: float = 0.2
    """Pause before the first restart; each further one doubles it."""
    max_delay_seconds: float = 5.0
    """Longest pause."""
    max_deaths: int = 5
    """This many deaths within `window_seconds` and nothing is restarted any more."""
    window_seconds: float = 60.0
    """Deaths older than this are forgotten."""


@dataclass
class Restarts:
    """The deaths of one process so far. Reads no clock: callers say what time it is."""

    policy: RestartPolicy
    _deaths: deque[float] = field(default_factory=deque)

    def next_delay(self, now: float) -> float | None:
        """Note a death at `now` (seconds); the pause before the restart, or None to give up."""
        self._deaths.append(now)
        while self._deaths[0] <= now - self.policy.window_seconds:
            self._deaths.popleft()
        num_deaths = len(self._deaths)
        if num_deaths >= self.policy.max_deaths:
            return None
        num_doublings = num_deaths - 1
        delay = self.policy.first_delay_seconds * float(1 << num_doublings)
        return min(delay, self.policy.max_delay_seconds)
