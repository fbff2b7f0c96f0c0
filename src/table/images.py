"""Read the images of the table's stream: a new event, or the tombstone of a user."""

from collections.abc import Mapping

from domain.news import Message, event_created, user_erased
from table import primary_keys as keys
from table.attribute_values import AttributeValue, from_item
from table.events import stored_event


def message_of(image: Mapping[str, AttributeValue]) -> Message | None:
    """Return the message about an image; None for other items. Raise KeyError or ValueError if it is invalid."""
    if not image:
        return None
    item = from_item(image)
    account, user_id = keys.account_and_user_of(item)
    if item["sk"] == keys.PROFILE and "erasedAt" in item:
        return user_erased(account, user_id, item["erasedAt"])
    return event_created(account, user_id, stored_event(item)) if item["sk"].startswith(keys.EVENT) else None
