"""The units of each kind of event. `tests/integration/test_capacity.py` measures them; `growth.py` uses them."""

from dataclasses import dataclass, field


@dataclass
class Bill:
    calls: list[str] = field(default_factory=list)
    rru: float = 0
    wru: int = 0
    user_wru: int = 0  # of `wru`, those on the user's own items, which have one partition key
    items: list[int] = field(default_factory=list, compare=False)  # how many each call for several items names


BILLS = {
    "plain": Bill(["GetItem", "PutItem"], rru=1, wru=1, user_wru=1),  # with a body of 1 KB
    "update": Bill(["GetItem", "TransactWriteItems"], rru=1, wru=4, user_wru=4),  # and login
    "upsert": Bill(["GetItem", "TransactWriteItems"], rru=1, wru=6, user_wru=4),  # a plain event of a new user
    "login-new-address": Bill(["BatchGetItem", "TransactWriteItems"], rru=2, wru=6, user_wru=4),
    "confirmation": Bill(["GetItem", "TransactWriteItems"], rru=1, wru=6, user_wru=4),  # new or duplicate
    "emailopen": Bill(["GetItem", "GetItem", "TransactWriteItems"], rru=1.5, wru=6, user_wru=6),
    "emailopen-discarded": Bill(["GetItem", "GetItem"], rru=1.5),
    "bot": Bill(["GetItem"], rru=1),
    "plain-idempotent": Bill(["GetItem", "TransactWriteItems"], rru=1, wru=4, user_wru=2),  # an Idempotency-Key
}
# An event whose time lies before the latest open, or before the latest change of the profile.
LATE = {
    "emailopen": Bill(["GetItem", "GetItem", "Query", "GetItem", "TransactWriteItems"], rru=3, wru=6, user_wru=6),
    "confirmation": Bill(["GetItem", "GetItem", "TransactWriteItems"], rru=1.5, wru=6, user_wru=4),
    "update": Bill(["GetItem", "GetItem", "TransactWriteItems"], rru=1.5, wru=4, user_wru=4),
}
# Batches: the profile of the last one has less than 1 KB.
BATCHES = {
    "100 plain events of 100 users, new or duplicate": Bill(
        ["BatchGetItem", *100 * ["PutItem"]], rru=100, wru=100, user_wru=100
    ),
    "30 confirmations of 30 users": Bill(["BatchGetItem", *30 * ["TransactWriteItems"]], rru=30, wru=180, user_wru=120),
    "30 updates of one user": Bill(["GetItem", "TransactWriteItems"], rru=1, wru=62, user_wru=62),
}
AUTHORIZER = Bill(["GetItem"], rru=1)  # when the gateway does not remember the key
