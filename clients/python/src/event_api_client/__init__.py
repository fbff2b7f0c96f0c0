"""Client of the event API: `Outbox` sends events without losing one. The command `event-api` imports and compares."""

from event_api_client.outbox import Outbox, Rejected, SendingStopped, Status
from event_api_client.store import OutboxError

__all__ = ["Outbox", "OutboxError", "Rejected", "SendingStopped", "Status"]
