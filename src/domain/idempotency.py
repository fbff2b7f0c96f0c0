"""Contract section 7: a request repeated under its Idempotency-Key gets its first answer again."""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from domain.problems import Warning

LIFETIME = timedelta(hours=24)
MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an event. `discarded` says why it was not stored; None: it was."""

    event_id: str
    user_id: str
    discarded: str | None = None
    warnings: tuple[Warning, ...] = ()
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Both parts are SHA-256 in hexadecimal, so that neither the key nor the body is stored."""

    key_hash: str
    body_hash: str

    @classmethod
    def of(cls, key: str, body: bytes) -> "IdempotencyKey":
        return cls(sha256(key.encode("utf-8", "surrogatepass")).hexdigest(), sha256(body).hexdigest())
