"""Contract, section 4: what keeps an event out. Such an event is discarded, which is an answer, not an error.

A restriction is data. An event type names the one it has, and the table turns it into the condition of a write.
"""

from dataclasses import dataclass
from datetime import timedelta

MAX_USER_AGENT_LENGTH = 1024  # more is not searched: real ones are far shorter


@dataclass(frozen=True, slots=True)
class Restriction:
    """`code` is the name for programs, logs and metrics; `text` is what callers read."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class OnceForEachValue(Restriction):
    """One event for each value of a field in an account, for ever."""

    field: str


@dataclass(frozen=True, slots=True)
class OnceInWindow(Restriction):
    """No two events of a user lie closer together than the window, by when they happened."""

    window: timedelta


BOT = Restriction("bot", "An event from a bot")


def is_bot(user_agent: str) -> bool:
    """Whether a visitor's user agent declares itself a crawler. A doubtful or empty one is a person."""
    if not user_agent:
        return False
    from crawleruseragents import is_crawler  # hundreds of patterns: only for requests that ask

    return bool(is_crawler(user_agent[:MAX_USER_AGENT_LENGTH]))
