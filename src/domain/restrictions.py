"""Contract, section 4: the rules that discard an event. A discarded event is a result, not an error.

A restriction is data. An event type names its restriction, and the table makes the condition of a write from it.
"""

from datetime import timedelta
from typing import NamedTuple

MAX_USER_AGENT_LENGTH = 1024  # more is not searched: real ones are far shorter


class Restriction(NamedTuple):
    """A rule that discards events. `code` is its name for programs, logs and metrics; callers read `text`.

    `field`: one event for each value of this field in an account, without a time limit. `window`: no two events of a
    user are closer, by the times when they happened.
    """

    code: str
    text: str
    field: str = ""
    window: timedelta | None = None


BOT = Restriction("bot", "An event from a bot")


def is_bot(user_agent: str) -> bool:
    """Return whether a visitor's user agent declares itself a crawler. A doubtful one is a person."""
    from domain.bots import declares_itself  # only for requests that name an agent

    return declares_itself(user_agent[:MAX_USER_AGENT_LENGTH])
