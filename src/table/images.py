"""Read the images of the table's stream: a new event, or the tombstone of a user."""

from collections.abc import Mapping

from domain.news import EventCreated, News, UserErased
from domain.times import iso
from table import primary_keys as keys
from table.attribute_values import AttributeValue, from_item
from table.events import stored_event


def news_of(image: Mapping[str, AttributeValue]) -> News | None:
    """Return the message of an image; None for other items. Raises KeyError or ValueError if it is invalid."""
    if not image:
        return None
    item = from_item(image)
    account, user_id = keys.account_and_user_of(item)
    if item["sk"] == keys.PROFILE and "erasedAt" in item:
        return UserErased(account, user_id, item["erasedAt"])
    if not item["sk"].startswith(keys.EVENT):
        return None
    event = stored_event(item)
    return EventCreated(
        account=account,
        user_id=user_id,
        event_id=event.id,
        type=event.type,
        created_on=iso(event.happened_at),
        received_on=event.received_on or iso(event.happened_at),
        imported=event.imported,
        payload=event.payload,
    )
