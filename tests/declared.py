"""Two event types that callers do not have: what is promised of a restriction holds for every type that declares one.

    @with_declared_types                      the two are in the catalogue during the test
    def test_...(account): send(account, {"review": {"reviewId": "R-1"}})

The classes are all there is of them: nothing in `src` knows them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from pydantic import Field

from domain.event_types import CATALOGUE, WIRE_NAMES, EventType, OrderId
from domain.restrictions import Restriction


def declare() -> tuple[type[EventType], ...]:
    """Declare the types: a class is in the catalogue when it is defined."""

    class Review(EventType):
        """A product was reviewed. Stored once for each `reviewId`."""

        restriction: ClassVar = Restriction(
            "review_id_seen", "A review with this reviewId was already received", field="reviewId"
        )

        reviewId: OrderId = Field(description="The shop's number of the review.", examples=["R-1"])
        stars: Any = Field(None, description="How good the product is.", examples=[4.5])

    class EmailClick(EventType):
        """A link in an email was clicked. Stored once in 10 minutes for each user."""

        aliases: ClassVar = ("emailClick",)
        restriction: ClassVar = Restriction(
            "email_click_in_window",
            "An email click was already received in the last 10 minutes",
            window=timedelta(minutes=10),
        )

    return Review, EmailClick


@pytest.fixture
def declared_types() -> Iterator[None]:
    known, names = dict(CATALOGUE), dict(WIRE_NAMES)
    declare()
    try:
        yield
    finally:
        for catalogue, before in ((CATALOGUE, known), (WIRE_NAMES, names)):
            catalogue.clear()
            catalogue.update(before)


with_declared_types = pytest.mark.usefixtures("declared_types")


@dataclass(frozen=True)
class Once:
    type: str
    field: str
    needs: tuple[str, ...] = ()

    def event(self, value: object = "A-1", **more: Any) -> dict[str, Any]:
        return {self.type: {self.field: value, **dict.fromkeys(self.needs, "A-1"), **more}}


@dataclass(frozen=True)
class Windowed:
    type: str
    window: timedelta

    def event(self, **more: Any) -> dict[str, Any]:
        return {self.type: more}


def restriction_of(kind: Once | Windowed) -> Restriction:
    restriction = CATALOGUE[kind.type].restriction
    assert restriction is not None
    return restriction


ONCES = [Once("confirmation", "orderId"), Once("refund", "refundId", ("orderId",)), Once("review", "reviewId")]
WINDOWED = [Windowed("emailopen", timedelta(minutes=20)), Windowed("emailclick", timedelta(minutes=10))]
RESTRICTED: list[Once | Windowed] = [*ONCES, *WINDOWED]
DECLARED: list[Once | Windowed] = [ONCES[2], WINDOWED[1]]  # here, and nowhere else


def _named(kind: Once | Windowed) -> str:
    return kind.type


every_once = pytest.mark.parametrize("once", ONCES, ids=_named)
every_window = pytest.mark.parametrize("windowed", WINDOWED, ids=_named)
every_restriction = pytest.mark.parametrize("kind", RESTRICTED, ids=_named)
