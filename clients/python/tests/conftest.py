from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api_stub import Stub, serving
from event_api_client import Outbox, outbox


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_URL", "API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(outbox, "LONGEST_WAIT", 0.05)
    monkeypatch.setattr(outbox, "COLLECT_SECONDS", 0.01)
    monkeypatch.setattr(outbox, "IDLE_SECONDS", 0.05)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub()) as it:
        yield it


@pytest.fixture
def open_outbox(stub: Stub, tmp_path: Path) -> Iterator[Callable[..., Outbox]]:
    opened: list[Outbox] = []

    def new(**settings: Any) -> Outbox:
        made = Outbox(tmp_path / "events.db", **({"url": stub.url, "key": "key"} | settings))
        opened.append(made)
        return made

    yield new
    for each in opened:
        each.close(0)
        if each._thread.is_alive():
            each._thread.join()
