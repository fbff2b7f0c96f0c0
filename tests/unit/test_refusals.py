"""Contract section 10: refusals contain names that the contract knows, and no value that was sent."""

import pytest

from use_cases.refusals import known_field


@pytest.mark.parametrize(("field", "known"), [
    ("event", "event"), ("events", "events"), ("events.12.user.email", "user.email"), ("events.12", ""),
    ("event.emailOpen", "event.emailopen"), ("event.confirmation.orderId", "event.confirmation.orderId"),
    ("event.confirmation.generic.orderId", "event.confirmation.generic.orderId"),
    ("event.generic.generic.event_name", "event.generic.generic.event_name"),
    ("event.ana@example.com.orderId", "event"), ("event.update.ana@example.com", "event.update"),
    ("event.update.email.email.event.user", "event.update"),
    ("event.confirmation.items.items.items", "event.confirmation.items"),
    ("user.firstname.user.email", "user.firstname"),
    ("user.ana", "user"), ("tags", "tags"), ("ana.user.email", ""), ("12.34600000000", ""),
    ("Idempotency-Key", "Idempotency-Key"), ("", ""),
])  # fmt: skip
def test_a_field_is_made_of_names_of_the_contract_each_in_its_place(field: str, known: str) -> None:
    assert known_field(field) == known
