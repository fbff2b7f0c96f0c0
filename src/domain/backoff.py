"""Pauses between the attempts of a call."""

from collections.abc import Iterator
from secrets import SystemRandom

LONGEST_SECONDS = 0.4


def backoff(longest: float = 0.02, limit: float = LONGEST_SECONDS) -> Iterator[float]:
    """Yield the seconds to wait before each attempt, without end: at most `longest`, which doubles up to `limit`."""
    while True:
        # By the system, because functions that start from one snapshot have the same random state in their memory.
        yield SystemRandom().uniform(0, longest)
        longest = min(2 * longest, limit)
