"""The commands behind `make run`, `key`, `events`, `demo`, `import`, `feed`, `export` and `clean`."""

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError

from local import access_log, aws, console, demo, events, export, feed, stack, stopping
from local.install import step
from local.stack import Stack, StackError

FOLDER = stack.ROOT / ".stack"
DEMO_KEY = FOLDER / "demo-key"
ENDPOINT = "endpoint"
LOG = FOLDER / "emulator.log"
ERRORS = Path(".stack/errors.log")  # in the form that is printed
MAX_PORT = 65535
EXPORT = stack.ROOT / "export"
CLIENT = stack.ROOT / "clients" / "python" / "src"
DEMO_ACCOUNT = "demo"
DEMO_USER = {"email": "ana@example.com"}
DEMO_EVENT = {"user": DEMO_USER, "event": {"update": {"firstname": "Ana"}}}


def main() -> int:
    arguments = parse_arguments()
    stopping.by_signals()  # any signal stops the emulator as Ctrl-C does
    try:
        arguments.command(arguments)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run_command = commands.add_parser("run", help="deploy the stack and serve it until Ctrl-C")
    run_command.add_argument("--port", required=True)
    run_command.add_argument("--quiet", action="store_true", help="print no line for each request")
    run_command.set_defaults(command=run)
    key_command = commands.add_parser("key", help="make an API key on the running stack")
    key_command.add_argument("account")
    key_command.add_argument("--scopes", default="", help="separated by commas; all if there are none")
    key_command.set_defaults(command=create_key)
    events_command = commands.add_parser("events", help="send the requests of events/ to the running stack")
    events_command.set_defaults(command=send_events)
    demo_command = commands.add_parser("demo", help="fill the demo account of the running stack with a shop")
    demo_command.set_defaults(command=send_demo)
    import_command = commands.add_parser("import", help="import a file into the demo account of the running stack")
    import_command.add_argument("arguments", nargs=argparse.REMAINDER)
    import_command.set_defaults(command=import_file)
    feed_command = commands.add_parser("feed", help="print what arrives on the bus until Ctrl-C")
    feed_command.set_defaults(command=print_feed)
    export_command = commands.add_parser("export", help="write the running stack's table as DynamoDB exports it")
    export_command.set_defaults(command=export_table)
    stopped_command = commands.add_parser("stopped", help="fail if the stack is running")
    stopped_command.set_defaults(command=check_stopped)
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    with stopping.expected(), alone():
        serve(*ports(arguments.port), arguments.quiet)


@contextlib.contextmanager
def alone(folder: Path = FOLDER) -> Iterator[None]:
    """Let no other command use the folder until the block ends: no stack that runs, starts or stops."""
    if endpoint := running_endpoint(folder):
        raise StackError(f"The stack is running at {endpoint}: stop it with Ctrl-C first")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError("The stack is just being started or stopped in another terminal") from error
        yield


def serve(port: int, pages_port: int, quiet: bool) -> None:
    with contextlib.ExitStack() as until_stopped:
        with step(f"Deploying template.yaml to an AWS emulator on {aws.HOST}:{port}"):
            it = until_stopped.enter_context(stack.running(port, FOLDER, {"Feed": "on"}))
        (FOLDER / ENDPOINT).write_text(it.endpoint)
        try:
            api_key = demo_key(it)
            recent = feed.Recent(DEMO_ACCOUNT)
            with recent.listening(it.endpoint), console.running(it.api_url, api_key, pages_port, recent) as pages_url:
                print_usage(it.api_url, api_key, pages_url)
                show_requests(it, quiet)
        except KeyboardInterrupt:
            stopping.ignore_signals()
            print("\nStopping; the data is kept for the next `make run`.", flush=True)
        else:
            raise StackError(f"The emulator stopped by itself; see {LOG}, and start it again with `make run`")
        finally:
            (FOLDER / ENDPOINT).unlink()


def show_requests(it: Stack, quiet: bool) -> None:
    """Print a line for each request, until the emulator stops."""
    log_group = stack.outputs(it.endpoint)["LogGroupName"]
    with (FOLDER / "requests.log").open() as requests:
        requests.seek(0, os.SEEK_END)
        while it.emulator.poll() is None:
            stopping.pause()
            for line in () if quiet else access_log.lines(requests, it.endpoint, log_group, ERRORS):
                print(line, flush=True)


def ports(wanted: str) -> tuple[int, int]:
    """Return the ports of the emulator and of the pages, which use the next one. PORT=0 uses free ones."""
    if not re.fullmatch("[0-9]{1,5}", wanted) or int(wanted) > MAX_PORT:
        raise StackError(f"PORT={wanted} is no port: it is a number from 1 to {MAX_PORT}, or 0 for a free one")
    if int(wanted) == 0:
        port = stack.free_port()
        print(f"PORT=0: taking the free port {port}")
        return port, 0
    stack.check_free(int(wanted))
    return int(wanted), int(wanted) + 1


def demo_key(it: Stack) -> str:
    """Return a key of the demo account: that of an earlier start, if it is valid. Create the demo user."""
    api_key = DEMO_KEY.read_text() if DEMO_KEY.exists() else ""
    status = create_demo_user(it.api_url, api_key)
    if status == HTTPStatus.UNAUTHORIZED:
        api_key = it.create_key(DEMO_ACCOUNT)
        DEMO_KEY.write_text(api_key)
        status = create_demo_user(it.api_url, api_key)
    if status not in (HTTPStatus.OK, HTTPStatus.CONFLICT):
        raise StackError(f"The demo user was not created, the API answered {status}; see {LOG}")
    return api_key


def create_demo_user(api_url: str, api_key: str) -> int:
    url = urlsplit(api_url)
    connection = http.client.HTTPConnection(url.netloc)
    connection.request("POST", f"{url.path}/user/", json.dumps(DEMO_USER), {"Authorization": api_key})
    return connection.getresponse().status


def print_usage(api_url: str, api_key: str, pages_url: str) -> None:
    event = shlex.quote(json.dumps(DEMO_EVENT))
    print(f"export API_URL={api_url}")
    print(f"export API_KEY={api_key}")
    print(f"curl -i {api_url}/event/ -H 'Authorization: {api_key}' -d {event}")
    print(f"DOCS_URL={pages_url}")
    print(f"USERS_URL={pages_url}users#{DEMO_USER['email']}")
    print(f"LIVE_URL={pages_url}live")
    print("Ctrl-C stops it", flush=True)


def create_key(arguments: argparse.Namespace) -> None:
    scopes = [scope for scope in arguments.scopes.split(",") if scope]
    print(f"export API_KEY={stack.create_key(required_endpoint(), arguments.account, scopes)}")


def send_events(_: argparse.Namespace) -> None:
    api_url = running_api_url()
    for name, status, outcome in events.send(api_url, DEMO_KEY.read_text()):
        print(f"{name:<32} {status} {outcome}")


def send_demo(_: argparse.Namespace) -> None:
    api_url = running_api_url()
    for line in demo.send(api_url, DEMO_KEY.read_text()):
        print(line, flush=True)


def import_file(arguments: argparse.Namespace) -> None:
    settings = {"API_URL": running_api_url(), "API_KEY": DEMO_KEY.read_text(), "PYTHONPATH": str(CLIENT)}
    command = [sys.executable, "-m", "event_api_client", "import", *arguments.arguments]
    os.execve(sys.executable, command, os.environ | settings)  # noqa: S606 our own command


def print_feed(_: argparse.Namespace) -> None:
    endpoint = required_endpoint()
    try:
        with stopping.expected(), feed.listening(endpoint) as arriving:
            print("Listening; Ctrl-C ends it", file=sys.stderr, flush=True)
            for event in arriving:
                print(feed.line(event) if sys.stdout.isatty() else event, flush=True)
    except BrokenPipeError:  # `make feed | head` has seen enough; Python need not try to flush the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except BotoCoreError as error:
        raise StackError("The stack does not answer any more") from error


def export_table(_: argparse.Namespace) -> None:
    written, count = export.write(required_endpoint(), EXPORT)
    print(f"Wrote {count} items to {written.relative_to(stack.ROOT)}")


def running_api_url() -> str:
    endpoint = required_endpoint()
    return stack.api_url(endpoint, stack.outputs(endpoint)["ApiId"])


def required_endpoint() -> str:
    endpoint = running_endpoint()
    if endpoint is None:
        raise StackError("The stack is not running: start it with `make run` in another terminal")
    return endpoint


def check_stopped(_: argparse.Namespace) -> None:
    with alone():
        pass


def running_endpoint(folder: Path = FOLDER) -> str | None:
    if not (folder / ENDPOINT).exists():
        return None
    endpoint = (folder / ENDPOINT).read_text()
    return endpoint if stack.is_up(endpoint) else None


if __name__ == "__main__":
    sys.exit(main())
