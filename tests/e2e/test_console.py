"""The server of the pages: the requests that it forwards or refuses, and the messages of `make console`."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from clone import make
from e2e.conftest import Ana, Answer, Caller
from local import aws, console, stack
from local.console.__main__ import main

SECONDS = 60
ANA = "/user/ana@example.com"
SEARCH = {"search": {"query": "shoes"}}


@pytest.fixture
def page(caller: Caller) -> Iterator[str]:
    with console.running(caller.api_url, caller.key) as url:
        yield url


def status_of(url: str, **headers: str) -> int:
    return Caller(url, "").send("GET", "", None, headers).status


# --- Passing on -----------------------------------------------------------------------------------


def assert_same(answer: Answer, page: Answer) -> None:
    one, other = ((each.status, each.text, each.headers["Content-Type"]) for each in (answer, page))
    assert one == other


def test_what_the_page_asks_is_answered_as_by_the_api(page: str, caller: Caller, ana: Ana) -> None:
    through_page = Caller(f"{page}v1", "")
    odd = quote("a+%d/&?#@example.com", safe="")
    for user in (ana["email"], odd):
        sent = ("PUT", f"/user/{user}?upsert=true", {"firstname": "Ána"})
        caller.send(*sent)
        assert_same(caller.send(*sent), through_page.send(*sent))
    assert caller.event(ana, SEARCH).status == 200
    for route in (
        *(f"GET /user/{odd}", f"GET {ANA}/events?limit=1&type=search", f"GET {ANA}/events?limit=none"),
        *("GET /nowhere", "DELETE /user/nobody@example.com"),
    ):
        method, path = route.split(" ")
        assert_same(caller.send(method, path), through_page.send(method, path))
    assert through_page.send("GET", ANA).headers["Cache-Control"] == "no-store"
    first, repeat = (each.event(ana, SEARCH, **{"Idempotency-Key": "of the page"}) for each in (caller, through_page))
    assert_same(first, repeat)
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert repeat.headers["X-Event-Id"] == first.headers["X-Event-Id"]


def test_a_key_that_is_sent_is_used_instead_of_the_servers_and_the_users_netrc_names_no_other(
    page: str, caller: Caller, ana: Ana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, status in (("", 200), (caller.key, 200), ("key_of_nobody", 401)):
        assert Caller(f"{page}v1", key).send("GET", ANA).status == status
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {aws.HOST} login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setattr(console, "is_here", lambda _: False)  # as for a stack elsewhere
    assert Caller(f"{page}v1", "").send("GET", ANA).status == 200


def test_only_the_page_says_that_the_api_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does a request that names no host leave its path in the terminal."""
    with (
        console.running(f"http://{aws.HOST}:{stack.free_port()}/v1", "key") as url,
        socket.create_connection((aws.HOST, urlsplit(url).port or 0)) as connection,
    ):
        answer = Caller(f"{url}v1", "key").send("GET", ANA)
        connection.sendall(b"GET /v1/user/ana@example.com HTTP/1.0\r\n\r\n")
        assert b" 502 " in connection.recv(4096)
    assert (answer.status, answer.body) == (502, console.NO_ANSWER)
    assert caplog.records == []


def test_no_path_leads_the_key_to_another_host_or_above_the_apis_address() -> None:
    """An API may have its own domain without a path. A link that is opened from a mail comes from no other site."""
    with (
        socket.create_server((aws.HOST, 0)) as elsewhere,
        console.running(f"http://{aws.HOST}:{stack.free_port()}", "key") as url,
    ):
        other = f"@{aws.HOST}:{elsewhere.getsockname()[1]}/x"
        above = ("v1/../x", "v1/a/../../x", "v1/%2e%2E/x", "v1/./x", "v1/x/..?a=b")
        for path in (f"v1%2F{other}", f"v1%2f{quote(other)}", f"%76%31/{other}", *above):
            assert status_of(url + path) == 404
        assert status_of(f"{url}v1/{other}") == 502  # asked the API, which does not answer
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


# --- Callers --------------------------------------------------------------------------------------


def test_the_page_is_for_this_machine_only(page: str) -> None:
    for host, status in (("127.0.0.1", 200), ("localhost", 200), ("elsewhere.example.com", 400)):
        assert status_of(page, Host=host) == status
    for path in ("pages/../__init__.py", "pages/%2e%2e/__init__.py", "swagger-ui/../__init__.py", "v2/event/"):
        assert status_of(page + path) == 404
    with pytest.raises(OSError):  # noqa: PT011 each system words it in another way
        socket.create_connection(("127.0.0.2", urlsplit(page).port), timeout=5)


ALLOWED: list[dict[str, str]] = [  # of curl, of the page, and typed by the user
    {}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "OURS"},
]  # fmt: skip
FORBIDDEN = [  # same-site is another port of this machine; an old browser sends no Sec-Fetch-Site
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example.com"},
    {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
]  # fmt: skip


def test_no_other_site_uses_the_key_through_the_users_browser(page: str, caller: Caller, ana: Ana) -> None:
    """As a form of another site could send it, without asking first."""
    through_page, event = Caller(f"{page}v1", ""), {"user": ana, "event": SEARCH}
    for headers in ALLOWED + FORBIDDEN:
        sent = {name: value.replace("OURS", page.rstrip("/")) for name, value in headers.items()}
        status = 200 if headers in ALLOWED else 403
        assert through_page.send("POST", "/event/", event, {**sent, "Content-Type": "text/plain"}).status == status
        assert through_page.send("GET", ANA, None, sent).status == status, sent
    assert len(caller.send("GET", f"{ANA}/events").body["events"]) == len(ALLOWED)


def test_an_unknown_page_lists_the_pages_and_the_description_names_the_api(page: str, caller: Caller) -> None:
    answer = Caller(page, "").send("GET", "nowhere")
    links = re.findall(r'<a href="(.*?)"', answer.text)
    assert (answer.status, len(links)) == (404, 2 * 3)  # above, and in the text
    assert {status_of(address) for address in links} == {200}
    [server] = Caller(page, "").send("GET", "openapi.json").body["servers"]
    assert (server["url"], caller.api_url in server["description"]) == ("/v1", True)


def test_a_taken_port_is_no_obstacle_and_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with console.running("http://127.0.0.1:1/v1", "key") as first:
        port = urlsplit(first).port
        assert port
        assert capsys.readouterr().out == ""
        with console.running("http://127.0.0.1:1/v1", "key", port) as second:
            assert first != second
            assert status_of(second) == 200
    assert capsys.readouterr().out == f"Port {port} cannot be used, so the pages are on another one.\n"


# --- make console ---------------------------------------------------------------------------------


def test_make_console_says_what_is_missing_or_wrong(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("local.stopping.by_signals", lambda: None)
    nobody, no_stage = f"http://{aws.HOST}:{stack.free_port()}/v1", caller.api_url.removesuffix("/v1")
    for url, key, said in (
        ("", "", "Name the API and its key: make console API_URL="),
        (caller.api_url, "", "Name the API and its key"),
        ("example.com/v1", "key", "API_URL is not an address: example.com/v1"),
        ("http://example.com/v1", "key", "Use https://"),
        (nobody, "key", f"{nobody} does not answer"),
        (no_stage, caller.key, "Does the address end in /v1?"),
        (caller.api_url, "key_of_nobody", "does not accept this API_KEY"),
        (caller.api_url, f"{caller.key}é", "API_KEY has a character that no key has"),
        (caller.api_url, f"{caller.key}\n{caller.key}", "API_KEY has a character that no key has"),
    ):
        monkeypatch.setenv("API_URL", url)
        monkeypatch.setenv("API_KEY", key)
        assert main() == 1
        printed = capsys.readouterr()
        assert (printed.out, said in printed.err, caller.key in printed.err) == ("", True, False)


def test_make_console_serves_the_pages_and_never_shows_the_key(caller: Caller, ana: Ana) -> None:
    env = os.environ | {"API_URL": f"{caller.api_url}/", "API_KEY": f"{caller.key}\r"}  # as from a file of Windows
    pipe = subprocess.PIPE
    with subprocess.Popen(
        make("console"), cwd=stack.ROOT, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            printed = "".join(takewhile(lambda line: "Ctrl-C" not in line, process.stdout or ()))
            found = dict(re.findall(r"^(DOCS_URL|USERS_URL)=(.*)$", printed, re.MULTILINE))
            texts = [Caller(url, "").send("GET", "").text for url in found.values()]
            assert len(texts) == 2
            assert not [text for text in (printed, *texts) if caller.key in text]
            answer = Caller(f"{found['DOCS_URL']}v1", "").send("GET", ANA)
            assert json.loads(answer.text)["email"] == ana["email"]
        finally:
            os.killpg(process.pid, signal.SIGINT)
            _, complained = process.communicate(timeout=SECONDS)
    assert complained == ""
