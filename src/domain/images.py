"""What an image in the table's stream says. Reads the keys of `store`: a new event, or the tombstone of a user."""

from collections.abc import Mapping

from domain.feed import EventCreated, News, UserErased
from domain.ids import time_of
from domain.profile import iso
from domain.values import AttributeValue, deserialize


def news_of(image: Mapping[str, AttributeValue]) -> News | None:
    """None: the item is something else, or gone. Raises KeyError or ValueError when it is not what it seems to be."""
    if not image:
        return None
    item = {name: deserialize(value) for name, value in image.items()}
    account, _, user_id = item["pk"].partition("#USER#")
    kind, _, event_uuid = item["sk"].partition("#")
    if kind == "PROFILE" and "erasedAt" in item:
        return UserErased(account, user_id, item["erasedAt"])
    if kind != "EVENT":
        return None
    created_on = iso(time_of(event_uuid))
    return EventCreated(
        account=account,
        user_id=user_id,
        event_id=item.get("id", event_uuid),
        type=item["type"],
        created_on=created_on,
        received_on=item.get("receivedOn", created_on),
        imported=item.get("imported", False),
        payload=item["payload"],
    )
