import os
from datetime import datetime, timezone

from generated_client import AuthenticatedClient
from generated_client.api.events import check_events, send_event, send_events
from generated_client.api.refusals import list_refusals
from generated_client.api.users import (
    change_email,
    change_user,
    create_user,
    erase_user,
    list_events,
    read_erasure,
    read_user,
    remove_attribute,
)
from generated_client.models import (
    BatchEvent,
    BatchRequest,
    BatchResult,
    CheckResult,
    ConfirmationEvent,
    ConfirmationFlat,
    Erased,
    Erasure,
    ErrorResponse,
    EventList,
    EventRequest,
    EventResult,
    ListEventsType,
    NewEmail,
    RefusalList,
    User,
    UserAttributes,
    UserByEmail,
    UserResult,
    ViewItem,
    ViewItemEvent,
)

EMAIL = "ana@example.com"
client = AuthenticatedClient(base_url=os.environ["API_URL"], token=os.environ["API_KEY"])

attributes = UserAttributes(email=EMAIL, tags=["vip"])
attributes["firstname"] = "Ana"  # any name
created = create_user.sync(client=client, body=attributes)
assert isinstance(created, UserResult)

order = ConfirmationEvent(ConfirmationFlat(order_id="A-3002", total=59.9, currency="EUR"))
request = EventRequest(user=UserByEmail(EMAIL), event=order)
for expected in ("created", "discarded"):
    answer = send_event.sync_detailed(client=client, body=request)
    assert isinstance(answer.parsed, EventResult)
    assert answer.headers["X-Event-Status"] == expected

view, now = ViewItemEvent(ViewItem("SKU-1")), datetime.now(timezone.utc)
seen = BatchEvent(user=UserByEmail(EMAIL), event=view, event_id="view-1", event_time=now)
nobody = BatchEvent(user=UserByEmail("nobody@example.com"), event=view, event_id="view-2", event_time=now)
check = check_events.sync(client=client, body=BatchRequest([seen]))
assert isinstance(check, CheckResult) and not check.stored
batch = send_events.sync(client=client, body=BatchRequest([seen, nobody]))
assert isinstance(batch, BatchResult)
for result in batch.results:
    if result.status == "created":
        print(result.event_id, "created")
    elif result.errors:
        print(result.event_id, result.errors[0].code)

user = read_user.sync(EMAIL, client=client)
assert isinstance(user, User)
print(user.number_of_purchases, user["firstname"])

timeline = list_events.sync(EMAIL, client=client, type_=ListEventsType.CONFIRMATION)
assert isinstance(timeline, EventList)
print([event.payload["orderId"] for event in timeline.events])

changed = change_user.sync(EMAIL, client=client, body=UserAttributes(tags="-vip"))
assert isinstance(changed, UserResult)

changed = remove_attribute.sync(EMAIL, "firstname", client=client)
assert isinstance(changed, UserResult) and "firstname" not in changed.object_

for email in ("ana.silva@example.com", EMAIL):
    changed = change_email.sync(str(changed.object_.field_id), client=client, body=NewEmail(email))
    assert isinstance(changed, UserResult)

refusals = list_refusals.sync(client=client)
assert isinstance(refusals, RefusalList)

erased = erase_user.sync(EMAIL, client=client)
assert isinstance(erased, Erased)

receipt = read_erasure.sync(str(erased.erasure.field_id), client=client)
assert isinstance(receipt, Erasure)
print("erasure", receipt.status)

unknown = send_event.sync(client=client, body=request)
assert isinstance(unknown, ErrorResponse)
print(unknown.errors[0].message)
