"""Make the lists of docs/reference.md from those that the code answers from: `make openapi`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from docs.openapi import FIELDS, MEANINGS, OF_A_BATCH, general_schemas, paths, scope_of
from domain.accounts import SCOPES
from domain.event_types import CATALOGUE, EventType
from domain.profile import SYSTEM_ATTRIBUTES
from domain.request import USER_FIELDS

CREATED = "The event was created, or discarded by a restriction."
PAGE = Path(__file__).with_name("reference.md")


def lists() -> dict[str, str]:
    """Return each list by the name in its marker."""
    return {
        "requests": requests(),
        "scopes": bullets((f"`{scope}`", allows) for scope, allows in SCOPES.items()),
        "fields": fields(),
        "types": table(["event", "what it is", "fields"], map(type_row, CATALOGUE.values())),
        "statuses": bullets((str(status), text) for status, text in ({200: CREATED} | MEANINGS).items()),
        "batches": bullets((str(status), text) for status, text in OF_A_BATCH.items()),
        "attributes": bullets((f"`{name}` ({kind})", FIELDS.get(name, "")) for name, kind in SYSTEM_ATTRIBUTES.items()),
    }


def requests() -> str:
    return bullets(
        (f"`{method.upper()} /v1{path}` (`{scope_of(method, path)}`)", f"{operation['summary']}.")
        for path, methods in paths().items()
        for method, operation in methods.items()
    )


def fields() -> str:
    """Return the names that a request can have outside of the event."""
    schemas = general_schemas()
    sent = {
        "a request": schemas["EventRequest"]["properties"],
        "`user`": USER_FIELDS,
        "a batch": schemas["BatchRequest"]["properties"],
        "an event of a batch": schemas["BatchEvent"]["properties"],
    }
    return bullets((place, names(listed)) for place, listed in sent.items())


def type_row(event_type: type[EventType]) -> Sequence[str]:
    known = event_type.model_fields
    required = names(name for name, field in known.items() if field.is_required())
    optional = names(name for name, field in known.items() if not field.is_required())
    parts = [part for part in (required, f"optionally {optional}" if optional else "") if part]
    also = f" Also called {names(event_type.aliases)}." if event_type.aliases else ""
    return [f"`{event_type.type_name()}`", f"{event_type.__doc__}{also}", "; ".join(parts)]


def names(listed: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in listed)


def bullets(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"- {name}: {text}\n" for name, text in pairs)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(text: str) -> str:
    """Return the page with new lists."""
    for name, made in lists().items():
        before, rest = text.split(f"<!-- {name} -->\n")
        _, after = rest.split("<!-- end -->\n", 1)
        text = f"{before}<!-- {name} -->\n{made}<!-- end -->\n{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
