"""GET /v1/refusals: counts of refused requests, without their content: contract, section 10."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256

from domain.event_types import WIRE_NAMES
from domain.problems import Invalid, Problem, Refused
from domain.request import USER_FIELDS
from table import Account
from table import refusal_counts as stored
from table.calls import Store
from table.refusal_counts import Reason, Refusal
from use_cases.pages import SIGNATURE_BYTES, cursor_of, limit_of, parameter, position_of

CURSOR = "Send the cursor of the previous page, unchanged. To start again, leave it out."
PLACE = re.compile(r"^events\.[0-9]+\.?")  # in a batch
# Names that a field may begin with.
FIXED_NAMES = {
    *("event", "events", "user", "eventId", "eventTime", "import", "tags", "limit", "type", "cursor", "upsert"),
    *("from", "to", "Idempotency-Key", *USER_FIELDS),
}


def count_refused(refused: Sequence[Refused], account: str, table: Store, request_id: str, now: datetime) -> None:
    """Count the first problem of each refused request, or of each refused event of a batch."""
    counted: Counter[Reason] = Counter()
    for each in refused:
        first = each.problems[0]
        field = known_field(first.field or first.in_batch or "")
        counted[Reason(first.code, each.event_type or "", field)] += 1
    stored.count(Account(table, account), counted, request_id, now)


def known_field(field: str) -> str:
    """Return the part of a dotted path that consists of names of the contract, without the index in a batch.

    A name counts only in a place where the contract has it, so callers cannot create any number of paths.
    """
    first, *rest = PLACE.sub("", field).split(".")
    known = [first] if first in FIXED_NAMES else []
    event_type = WIRE_NAMES.get(rest[0]) if first == "event" and rest else None
    if event_type:
        is_nested = bool(event_type.under_generic) and rest[1:2] == ["generic"]
        known += [event_type.type_name(), *(["generic"] if is_nested else [])]
        known += [name for name in rest[1 + is_nested : 2 + is_nested] if name in event_type.model_fields]
    elif first == "user":
        known += [name for name in rest[:1] if name in USER_FIELDS]
    return ".".join(known)


def newest(query: Mapping[str, str], account: Account, now: datetime) -> tuple[list[Refusal], str | None]:
    """Return a page, newest hour first, and the cursor of the next one. Raise Invalid."""
    sign = partial(_sign, account)
    wrong: list[Problem] = []
    limit = limit_of(query, wrong)
    after = parameter(query, wrong, "cursor", lambda cursor: _refusal(position_of(cursor, sign)), CURSOR)
    if wrong:
        raise Invalid(wrong)
    page, is_more = stored.page(account, limit, after, now)
    return page, cursor_of(_position(page[-1]), sign) if is_more else None


def _position(last: Refusal) -> bytes:
    return f"{last.hour}#{last.reason.code}#{last.reason.type}#{last.reason.field}#".encode()


def _refusal(position: bytes | None) -> Refusal | None:
    try:
        hour, *reason, _ = (position or b"").decode().split("#")
        datetime.strptime(hour, stored.HOUR).replace(tzinfo=UTC)
        found = Refusal(hour, Reason(*reason), 0, "")
    except (ValueError, TypeError):
        return None
    return found if _position(found) == position else None


def _sign(account: Account, position: bytes) -> bytes:
    """Return the signature of a position. It is not secret: it detects mistakes, and cursors of another account."""
    return sha256(f"{account.name}#".encode() + position[:-1]).hexdigest()[:SIGNATURE_BYTES].encode()
