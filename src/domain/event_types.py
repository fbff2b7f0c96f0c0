"""The event types: contract, section 3. Each class declares one type: its fields, restriction and changes.

The class name in lower case is the type's name on the wire, and the docstring is its documentation. A field's type has
the text of its 400. Other fields are stored unchanged. No code outside this module asks which type an event has.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError, WithJsonSchema, model_validator

from domain import problems
from domain.email import normal_email
from domain.problems import Notice, Problem
from domain.profile import NO_CHANGE, SYSTEM_ATTRIBUTES, Change, Maintained, change_attributes, change_by_event
from domain.restrictions import BOT, Restriction
from domain.times import milliseconds_of
from domain.values import MAX_NAME_SHOWN, as_number, as_text, letters_of, unstorable

# --- Field types ----------------------------------------------------------------------------------

MAX_TAG_LENGTH = 255
CONFLICTING = object()  # replaces a field whose flat value differs from its value under `generic`


def _valid(is_valid: Callable[[Any], object], fault: str) -> PlainValidator:
    """Return the validator of a field that has to be `is_valid`. `fault` says what is wrong with other values."""

    def validated(value: object) -> object:
        if value is CONFLICTING:
            raise ValueError("is given twice, flat and under generic, and the two differ")
        if not is_valid(value):
            raise ValueError(fault)
        return value

    return PlainValidator(validated)


def are_tags(value: object) -> bool:
    """Return whether a value is valid as tags. If not, TAGS_FAULT says what is wrong."""
    tags = value.split(";") if isinstance(value, str) else value
    return isinstance(tags, list) and all(isinstance(tag, str) and len(tag) <= MAX_TAG_LENGTH for tag in tags)


def _are_items(value: object) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(item, dict) for item in value))


TAGS_FAULT = f"must be a list of strings or one string with ; between tags, of {MAX_TAG_LENGTH} characters at most each"
TAGS_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "string", "maxLength": MAX_TAG_LENGTH}},
        {"type": "string", "pattern": f"^[^;]{{0,{MAX_TAG_LENGTH}}}(;[^;]{{0,{MAX_TAG_LENGTH}}})*$"},
    ]
}

# At least one character that `str.strip` keeps: it removes more than \s of JSON Schema, ECMAScript's, matches.
NOT_BLANK = r"[^\s\x1c-\x1f\x85]"
OneValue = Annotated[Any, _valid(lambda _: True, ""), WithJsonSchema({})]
Text = Annotated[
    Any,
    _valid(lambda value: isinstance(value, str | Decimal), "must be a string"),
    WithJsonSchema({"type": ["string", "number"]}),
]
OrderId = Annotated[
    Any,
    _valid(lambda value: 1 <= len(as_text(value)) <= 256, "must be a string of 1 to 256 characters, or a number"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": NOT_BLANK, "maxLength": 256}, {"type": "number"}]}),
]
ItemId = Annotated[
    Any,
    _valid(as_text, "must be a string that is not empty, or a number"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": NOT_BLANK}, {"type": "number"}]}),
    Field(description="The id of the product, as the shop's catalogue has it.", examples=["SHOE-42-RED"]),
]
EventName = Annotated[
    Any,
    _valid(
        lambda value: isinstance(value, str) and value.strip() and len(value) <= 255,
        "must be a string of 1 to 255 characters",
    ),
    WithJsonSchema({"type": "string", "pattern": NOT_BLANK, "maxLength": 255}),
    Field(description="The name of the custom event.", examples=["newsletter_signup"]),
]
Items = Annotated[
    Any,
    _valid(_are_items, "must be a list of objects"),
    WithJsonSchema({"type": ["array", "null"], "items": {"type": "object"}}),
]
Tags = Annotated[
    Any,
    _valid(are_tags, TAGS_FAULT),
    WithJsonSchema(TAGS_SCHEMA),
    Field(description="Tags to add; -tag removes one.", examples=[["vip", "-trial"]]),
]
Email = Annotated[
    Any,
    _valid(lambda value: value is None or normal_email(value), "is not an email address"),
    WithJsonSchema({"type": ["string", "null"], "format": "idn-email"}),
]
CartId = Annotated[Any, Field(description="The id of the cart, to join its events.", examples=["cart-81f3"])]

# In Shopify, PrestaShop, Magento, GA4 and Klaviyo, Segment, and Stripe.
NAMES_OF_TOTAL = ("total_price", "total_paid", "grand_total", "value", "revenue", "amount")
ITEMS = [{"itemId": "SHOE-42-RED", "quantity": 1, "price": 55.0}]  # of the examples

# --- The catalogue --------------------------------------------------------------------------------


class EventType(BaseModel):
    """The base of every event type, which keeps other fields unchanged. A subclass adds itself to the catalogue."""

    # A validator is compiled when the first event of its type comes: most starts see one type.
    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    aliases: ClassVar[tuple[str, ...]] = ()
    may_be_empty: ClassVar[bool] = True
    under_generic: ClassVar[tuple[str, ...]] = ()  # fields that servers nest under `generic`: both forms are read
    # The optional fields that change the profile, each with its names in other systems. If the field is missing, such a
    # name or a similar one causes a warning.
    counted: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    maintains: ClassVar[Maintained | None] = None  # the attributes of the profile that the system sets
    restriction: ClassVar[Restriction | None] = None  # the rule that discards events

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        CATALOGUE[cls.type_name()] = cls
        WIRE_NAMES.update(dict.fromkeys((cls.type_name(), *cls.aliases), cls))
        SYSTEM_ATTRIBUTES.update(cls.maintains.types if cls.maintains else {})

    @classmethod
    def type_name(cls) -> str:
        return cls.__name__.lower()

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, payload: dict[str, Any]) -> dict[str, Any]:
        nested = payload.get("generic") if cls.under_generic else None
        if not isinstance(nested, dict):
            return payload
        flat = dict(payload)
        for name in cls.under_generic:
            if name in nested:
                flat[name] = nested[name] if name not in payload else _same(name, payload[name], nested[name])
        return flat

    def changes(self, sent: Mapping[str, Any], email: str | None, happened_at: datetime) -> Change:  # noqa: ARG002
        """Return the change that this event makes to the profile of the user with `email`. `sent` is its payload."""
        if self.maintains is None:
            return NO_CHANGE
        sent_in = f"event.{self.type_name()}.total" if "total" in self.model_fields_set else ""
        return change_by_event(self.maintains, happened_at, getattr(self, "total", None), sent_in)

    def claims(self) -> str | None:
        """Return the address, in its normal form, by which this event identifies an anonymous user."""
        return None


CATALOGUE: dict[str, type[EventType]] = {}  # by the names of the types
WIRE_NAMES: dict[str, type[EventType]] = {}  # by every name that callers may use


class Update(EventType):
    """Sets attributes of the user's profile, key by key."""

    may_be_empty: ClassVar[bool] = False

    tags: Tags = []

    def changes(self, sent: Mapping[str, Any], email: str | None, happened_at: datetime) -> Change:
        return change_attributes(sent, email, "event.update.", milliseconds_of(happened_at))


class Login(EventType):
    """A login. Sets attributes of the user's profile; `email` identifies an anonymous user."""

    counted: ClassVar = {"email": ()}

    email: Email = Field(None, description="The address the user logged in with.", examples=["ana@example.com"])
    tags: Tags = []

    def changes(self, sent: Mapping[str, Any], email: str | None, happened_at: datetime) -> Change:
        attributes = {name: value for name, value in sent.items() if name != "email"}
        return change_attributes(attributes, email, "event.login.", milliseconds_of(happened_at))

    def claims(self) -> str | None:
        return normal_email(self.email)


class Confirmation(EventType):
    """A placed order. Stored once for each `orderId`. Fields other than `items` can be under `generic`."""

    under_generic: ClassVar = ("orderId", "total", "status", "currency", "coupons", "total_shipping", "phone")
    counted: ClassVar = {"total": NAMES_OF_TOTAL}
    maintains: ClassVar = Maintained(
        flag="isCustomer",
        number="numberOfPurchases",
        total="totalPurchasesValue",
        last_total="lastPurchaseValue",
        last_date="lastPurchaseDate",
    )
    restriction: ClassVar = Restriction(
        "order_id_seen", "A confirmation with this orderId was already received", field="orderId"
    )

    orderId: OrderId = Field(description="The shop's unique id of the order.", examples=["A-1001"])
    total: OneValue = Field(None, description="The amount of the order, a number or a numeric string.", examples=[59.9])
    status: OneValue = Field(None, description="The state of the order, in the shop's words.", examples=["paid"])
    currency: OneValue = Field(None, description="The currency of the amounts, never converted.", examples=["EUR"])
    coupons: OneValue = Field(None, description="The coupon codes of the order.", examples=["SUMMER10"])
    total_shipping: OneValue = Field(None, description="The shipping costs, usually part of `total`.", examples=[4.9])
    phone: OneValue = Field(None, description="The customer's telephone number.")
    items: Items = Field([], description="The products of the order.", examples=[ITEMS])


class Refund(EventType):
    """A full or partial refund. Stored once for each `refundId`. Fields other than `items` can be under `generic`."""

    under_generic: ClassVar = ("refundId", "orderId", "total", "currency", "reason")
    counted: ClassVar = {"total": NAMES_OF_TOTAL}
    maintains: ClassVar = Maintained(number="numberOfRefunds", total="totalRefundsValue", last_date="lastRefundDate")
    restriction: ClassVar = Restriction(
        "refund_id_seen", "A refund with this refundId was already received", field="refundId"
    )

    refundId: OrderId = Field(description="The shop's unique id of the refund.", examples=["R-77"])
    orderId: OrderId = Field(description="The id of the order that is refunded.", examples=["A-1001"])
    total: OneValue = Field(None, description="The amount paid back, a number or a numeric string.", examples=[55.0])
    currency: OneValue = Field(None, description="The currency of the amount.", examples=["EUR"])
    reason: OneValue = Field(None, description="The reason for the refund.", examples=["wrong size"])
    items: Items = Field([], description="The products that were refunded.", examples=[ITEMS])


class EmailOpen(EventType):
    """An email was opened. Stored once in 20 minutes for each user."""

    aliases: ClassVar = ("emailOpen", "email_open")
    maintains: ClassVar = Maintained(last_date="lastEmailOpenDate")
    restriction: ClassVar = Restriction(
        "email_open_in_window",
        "This user already has an email open within 20 minutes of this one",
        window=timedelta(minutes=20),
    )


class Generic(EventType):
    """A custom event, sent by a server: `{"generic": {"event_name": ...}}`, or flat."""

    under_generic: ClassVar = ("event_name",)

    event_name: EventName


class Event(EventType):
    """A custom event, in the form that browsers send."""

    event_name: EventName


class ViewItem(EventType):
    """A product was viewed."""

    itemId: ItemId


class ViewCategory(EventType):
    """A category was viewed."""

    category: Text = Field(description="The name of the category.", examples=["running shoes"])


class Search(EventType):
    """The shop was searched."""

    query: Text = Field(description="The text that the visitor searched for.", examples=["red shoes"])


class AddToCart(EventType):
    """A product was put into the cart."""

    itemId: ItemId
    cartId: CartId = None
    quantity: Any = Field(None, description="The number of pieces.", examples=[1])


class AddToWishlist(EventType):
    """A product was put on the wishlist."""

    prodId: ItemId


class Checkout(EventType):
    """The checkout reached a step."""

    cartId: CartId = None
    step: Any = Field(None, description="The step that the visitor reached, in the shop's words.", examples=["payment"])
    items: Items = Field([], description="The products in the cart.", examples=[ITEMS])


def restrictions() -> dict[str, Restriction]:
    """Return all restrictions by code."""
    declared = (cls.restriction for cls in CATALOGUE.values() if cls.restriction)
    return {restriction.code: restriction for restriction in (*declared, BOT)}


# --- Parsing --------------------------------------------------------------------------------------


class ParsedEvent(NamedTuple):
    """A valid event. `payload` is the object that was sent, `model` is its type's view of it."""

    type: str
    payload: dict[str, Any]
    model: EventType
    warnings: tuple[Notice, ...]
    claims: str | None  # the address, in its normal form, by which the event identifies an anonymous user
    once_value: str | None  # that only one event of this type may have; None if the type has no such field
    window: timedelta | None  # the minimum interval between two events of this type of one user, if it has one


def parse_event(wire_name: str, payload: object) -> ParsedEvent | tuple[Problem, ...]:
    """Return the event of the type with this name on the wire, or all problems of it."""
    cls = WIRE_NAMES.get(wire_name)
    if cls is None:
        return (_unknown_type(wire_name),)
    field = f"event.{wire_name}"
    if not isinstance(payload, dict) or not (payload or cls.may_be_empty):
        needs = "an object" if cls.may_be_empty else "an object with at least one attribute"
        return (problems.invalid_payload(wire_name, needs, field),)
    found = unstorable(payload, field)
    try:
        model = cls.model_validate(payload)
    except ValidationError as error:
        found += _problems(error, wire_name, cls, payload)
    if found:
        return tuple(found)
    unread = {name: _similar(payload, cls, name) for name in cls.counted if name not in model.model_fields_set}
    warnings = [
        problems.notice("similar_name", f"{field}.{sent}", f"{field}.{name}") for name, sent in unread.items() if sent
    ]
    rule = cls.restriction
    return ParsedEvent(
        type=cls.type_name(),
        payload=payload,
        model=model,
        warnings=tuple(warnings),
        claims=model.claims(),
        once_value=as_text(getattr(model, rule.field)) if rule and rule.field else None,
        window=rule.window if rule else None,
    )


def known_type(body: object) -> str | None:
    """Return the event type of a refused body, if the API has such a type."""
    event = body.get("event") if isinstance(body, dict) else None
    event_type = WIRE_NAMES.get(next(iter(event))) if isinstance(event, dict) and len(event) == 1 else None
    return event_type.type_name() if event_type else None


def _similar(payload: Mapping[str, Any], cls: type[EventType], name: str) -> str | None:
    """Return a name of the payload, or of its `generic`, that stands for `name`.

    It differs from `name`, or from a name in other systems, only in case or punctuation.
    """
    nested = payload.get("generic") if name in cls.under_generic else None
    places = {"": payload} | ({"generic.": nested} if isinstance(nested, dict) else {})
    known = {letters_of(each) for each in (name, *cls.counted.get(name, ()))}
    found = (place + sent for place, names in places.items() for sent in names if letters_of(sent) in known)
    return next((each for each in found if each != name), None)


def _problems(
    error: ValidationError, wire_name: str, cls: type[EventType], payload: dict[str, Any]
) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_input=False):
        if not detail["loc"]:  # a name that is not valid Unicode, which `unstorable` reports
            continue
        name = str(detail["loc"][0])
        if detail["type"] == "missing":
            about = str(cls.model_fields[name].description)
            yield problems.missing_field(name, f"event.{wire_name}", about, _similar(payload, cls, name))
        else:
            yield problems.invalid_field(name, f"{name} {detail['ctx']['error']}.", f"event.{wire_name}.{name}")


def _unknown_type(wire_name: str) -> Problem:
    from difflib import SequenceMatcher  # only for requests that fail

    def likeness(name: str) -> float:
        return SequenceMatcher(None, name, wire_name[:MAX_NAME_SHOWN].lower()).ratio()

    names = sorted(CATALOGUE, key=likeness, reverse=True)
    return problems.unknown_event_type(names, f"event.{wire_name[:MAX_NAME_SHOWN]}")


def _same(name: str, flat: object, nested: object) -> object:
    """Return `flat` if both places have the same value, else CONFLICTING."""
    return flat if _meaning(name, flat) == _meaning(name, nested) else CONFLICTING


def _meaning(name: str, value: object) -> object:
    """Return a value to compare: 59.9 and "59.90" are one amount, but "0049" and "49" are two phone numbers."""
    amount = as_number(value) if name in ("total", "total_shipping") else None
    return amount if amount is not None else as_text(value) or value
