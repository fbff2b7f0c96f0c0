"""The requests of table_of_1_0.json, the items and responses of version 1.0, recorded with a fixed time.

    items     the table, in DynamoDB's JSON
    answers   the responses of 1.0, by name: to each request of KEYED, and the users and their events at noon
    ids       the ids of users without an email
    keys      API keys, by their state; no deployment accepts them

The code of 1.0 does not change, so the recording does not either. Its program is in the history of this file.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)
ANA, BO = "ana@example.com", "bo@example.com"
FIRST_OPEN = MORNING + timedelta(minutes=10)
NOON = MORNING + timedelta(hours=4)
ORDER = {
    "confirmation": {
        "orderId": "A-1001",
        "generic": {"total": "59.90", "currency": "EUR"},
        "items": [{"itemId": "SKU-1"}],
    }
}
PLAIN: list[dict[str, Any]] = [
    {"generic": {"generic": {"event_name": "newsletter_signup"}}},
    {"event": {"event_name": "scrolled"}},
    {"viewitem": {"itemId": "SKU-1"}},
    {"viewcategory": {"category": "shoes"}},
    {"search": {"query": "red shoes"}},
    {"addtocart": {"itemId": "SKU-1", "quantity": 2}},
    {"addtowishlist": {"prodId": "SKU-2"}},
    {"checkout": {"step": "payment"}},
]
KEYED: dict[str, dict[str, Any]] = {
    "created": {"event": {"search": {"query": "blue shoes"}}},
    "warned": {"event": {"update": {"numberOfPurchases": 9, "city": "Lisbon"}}},
    "order seen": {"event": ORDER},
    "open in window": {"event": {"emailopen": {"campaign": "autumn"}}},
    "bot": {"event": {"search": {"query": "x"}}, "user": {"email": ANA, "userAgent": "Googlebot/2.1"}},
}
