"""Contract, section 4: the rules that discard an event. A discarded event is a result, not an error.

A restriction is data. An event type names its restriction, and the table makes the condition of a write from it.
"""

from dataclasses import dataclass
from datetime import timedelta

MAX_USER_AGENT_LENGTH = 1024  # more is not searched: real ones are far shorter


@dataclass(frozen=True, slots=True)
class Restriction:
    """A rule that discards events. `code` is its name for programs, logs and metrics; callers read `text`."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class OnceForEachValue(Restriction):
    """One event for each value of a field in an account, without a time limit."""

    field: str


@dataclass(frozen=True, slots=True)
class OnceInWindow(Restriction):
    """No two events of a user are closer than the window, by the times when they happened."""

    window: timedelta


BOT = Restriction("bot", "An event from a bot")


def is_bot(user_agent: str) -> bool:
    """Return whether a visitor's user agent declares itself a crawler. A doubtful one is a person."""
    from domain.bots import declares_itself  # only for requests that name an agent

    return declares_itself(user_agent[:MAX_USER_AGENT_LENGTH])
