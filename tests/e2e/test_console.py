"""The server of the pages: the requests that it forwards or refuses, and the messages of `make console`."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import pytest

from clone import make
from e2e.conftest import Answer, Caller
from local import aws, console, stack

SECONDS = 60
SEARCH = {"search": {"query": "shoes"}}


@pytest.fixture
def page(caller: Caller) -> Iterator[str]:
    """The pages' address."""
    with console.running(caller.api_url, caller.key) as url:
        yield url


def status_of(request: Request) -> int:
    return answer_to(request).status


def answer_to(request: Request) -> Answer:
    try:
        with urlopen(request, timeout=SECONDS) as response:
            return Answer(response.status, response.headers, response.read().decode())
    except HTTPError as error:
        return Answer(error.code, error.headers, error.read().decode())


# --- Passing on -----------------------------------------------------------------------------------


def test_what_the_page_asks_is_answered_as_by_the_api(page: str, caller: Caller, ana: dict[str, str]) -> None:
    through_page = Caller(f"{page}v1", "")
    odd = "a+%d/&?#@example.com"
    for user in (ana["email"], quote(odd, safe="")):
        sent = ("PUT", f"/user/{user}?upsert=true", {"firstname": "Ána"})
        caller.send(*sent)
        assert_same(caller.send(*sent), through_page.send(*sent))
    assert caller.event(ana, SEARCH).status == 200
    for method, path in (
        ("GET", f"/user/{quote(odd, safe='')}"),
        ("GET", "/user/ana@example.com/events?limit=1&type=search"),
        ("GET", "/user/ana@example.com/events?limit=none"),
        ("GET", "/nowhere"),
        ("DELETE", "/user/nobody@example.com"),
    ):
        assert_same(caller.send(method, path), through_page.send(method, path))
    assert through_page.send("GET", "/user/ana@example.com").headers["Cache-Control"] == "no-store"
    first, repeat = (each.event(ana, SEARCH, **{"Idempotency-Key": "of the page"}) for each in (caller, through_page))
    assert_same(first, repeat)
    assert (repeat.headers["Idempotent-Replayed"], repeat.headers["X-Event-Id"]) == (
        "true",
        first.headers["X-Event-Id"],
    )


def test_a_key_that_is_sent_is_used_instead_of_the_servers(page: str, caller: Caller, ana: dict[str, str]) -> None:
    for key, status in (("", 200), (caller.key, 200), ("key_of_nobody", 401)):
        assert Caller(f"{page}v1", key).send("GET", f"/user/{ana['email']}").status == status


def assert_same(answer: Answer, through_page: Answer) -> None:
    assert (through_page.status, through_page.text) == (answer.status, answer.text)
    assert through_page.headers["Content-Type"] == answer.headers["Content-Type"]


def test_the_users_netrc_names_no_other_key(
    page: str, ana: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {aws.HOST} login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setattr(console, "is_here", lambda _: False)  # as for a stack elsewhere
    assert Caller(f"{page}v1", "").send("GET", f"/user/{ana['email']}").status == 200


def test_only_the_page_says_that_the_api_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    with console.running(f"http://{aws.HOST}:{stack.free_port()}/v1", "key") as url:
        answer = Caller(f"{url}v1", "key").send("GET", "/user/ana@example.com")
    assert answer.status == 502
    assert answer.body == console.NO_ANSWER
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
            assert status_of(Request(url + path)) == 404
        assert status_of(Request(f"{url}v1/{other}")) == 502  # asked the API, which does not answer
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def test_a_request_that_names_no_host_leaves_no_path_in_the_terminal(caplog: pytest.LogCaptureFixture) -> None:
    with (
        console.running(f"http://{aws.HOST}:{stack.free_port()}/v1", "key") as url,
        socket.create_connection((aws.HOST, urlsplit(url).port or 0)) as connection,
    ):
        connection.sendall(b"GET /v1/user/ana@example.com HTTP/1.0\r\n\r\n")
        assert b" 502 " in connection.recv(4096)
    assert caplog.records == []


# --- Callers --------------------------------------------------------------------------------------


def test_the_page_is_for_this_machine_only(page: str) -> None:
    for host, status in (("127.0.0.1", 200), ("localhost", 200), ("elsewhere.example.com", 400)):
        assert status_of(Request(page, headers={"Host": host})) == status
    for path in ("pages/../__init__.py", "pages/%2e%2e/__init__.py", "swagger-ui/../__init__.py", "v2/event/"):
        assert status_of(Request(page + path)) == 404
    with pytest.raises(OSError):  # noqa: PT011 each system words it in another way
        socket.create_connection(("127.0.0.2", urlsplit(page).port), timeout=5)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # curl
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),  # typed by the user
        ({"Sec-Fetch-Site": "same-origin", "Origin": "OURS"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),  # another port of this machine
        ({"Origin": "https://evil.example.com"}, 403),  # a browser from before Sec-Fetch-Site
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
    ],
    ids=str,
)
def test_no_other_site_uses_the_key_through_the_users_browser(
    page: str, caller: Caller, ana: dict[str, str], headers: Mapping[str, str], status: int
) -> None:
    sent = {name: value.replace("OURS", page.rstrip("/")) for name, value in headers.items()}
    event = {"user": ana, "event": SEARCH}
    through_page = Caller(f"{page}v1", "")
    # As a form of another site could send it, without asking first.
    answer = through_page.send("POST", "/event/", event, {**sent, "Content-Type": "text/plain"})
    assert answer.status == status
    stored = caller.send("GET", f"/user/{ana['email']}/events").body["events"]
    assert len(stored) == (status == 200)
    assert through_page.send("GET", f"/user/{ana['email']}", None, sent).status == status


def test_an_unknown_page_lists_the_pages(page: str) -> None:
    answer = answer_to(Request(f"{page}nowhere"))
    assert answer.status == 404
    for address in re.findall(r'<a href="(.*?)"', answer.text):
        assert status_of(Request(address)) == 200
    assert answer.text.count("<a href=") == 2 * 3  # above, and in the text


def test_the_description_names_the_api_that_is_asked(page: str, caller: Caller) -> None:
    [server] = answer_to(Request(f"{page}openapi.json")).body["servers"]
    assert server["url"] == "/v1"
    assert caller.api_url in server["description"]


def test_a_taken_port_is_no_obstacle_and_is_said(caller: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    with console.running(caller.api_url, caller.key) as first:
        port = urlsplit(first).port
        assert port
        assert capsys.readouterr().out == ""
        with console.running(caller.api_url, caller.key, port) as second:
            assert first != second
            assert status_of(Request(second)) == 200
    assert capsys.readouterr().out == f"Port {port} cannot be used, so the pages are on another one.\n"


# --- make console ---------------------------------------------------------------------------------


def complaint(**environment: str) -> str:
    """Return the message of a `make console` that does not start."""
    kept = {name: value for name, value in os.environ.items() if name not in ("API_URL", "API_KEY")}
    command = [sys.executable, "-m", "local.console"]
    done = subprocess.run(
        command, cwd=stack.ROOT, env=kept | environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_make_console_says_what_is_missing_or_wrong(caller: Caller) -> None:
    nobody = f"http://{aws.HOST}:{stack.free_port()}/v1"
    no_stage = caller.api_url.removesuffix("/v1")
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
        text = complaint(API_URL=url, API_KEY=key)
        assert said in text
        assert caller.key not in text


def test_make_console_serves_the_pages_and_never_shows_the_key(caller: Caller, ana: dict[str, str]) -> None:
    env = os.environ | {"API_URL": f"{caller.api_url}/", "API_KEY": f"{caller.key}\r"}  # as from a file of Windows
    pipe = subprocess.PIPE
    with subprocess.Popen(
        make("console"), cwd=stack.ROOT, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            printed = "".join(takewhile(lambda line: "Ctrl-C" not in line, process.stdout or ()))
            found = dict(re.findall(r"^(DOCS_URL|USERS_URL)=(.*)$", printed, re.MULTILINE))
            texts = [answer_to(Request(url)).text for url in found.values()]
            assert len(texts) == 2
            assert not [text for text in (printed, *texts) if caller.key in text]
            answer = Caller(f"{found['DOCS_URL']}v1", "").send("GET", f"/user/{ana['email']}")
            assert json.loads(answer.text)["email"] == ana["email"]
        finally:
            os.killpg(process.pid, signal.SIGINT)
            _, complained = process.communicate(timeout=SECONDS)
    assert complained == ""
