"""Contract section 4: what keeps an event out. Such an event is discarded, which is an answer, not an error."""

from datetime import timedelta
from enum import StrEnum

EMAIL_OPEN_WINDOW = timedelta(minutes=20)
MAX_USER_AGENT_LENGTH = 1024  # of which more is not searched: real ones are far shorter


class Restriction(StrEnum):
    """The name is what metrics and logs call it, the value is what callers read."""

    ORDER_ID_SEEN = "A confirmation with this orderId was already received"
    EMAIL_OPEN_IN_WINDOW = "An email open was already received in the last 20 minutes"
    BOT = "An event from a bot"


def is_bot(user_agent: str) -> bool:
    """Whether a visitor's user agent declares itself a crawler. A doubtful or empty one is a person."""
    if not user_agent:
        return False
    from crawleruseragents import is_crawler  # hundreds of patterns: only for requests that ask

    return bool(is_crawler(user_agent[:MAX_USER_AGENT_LENGTH]))
