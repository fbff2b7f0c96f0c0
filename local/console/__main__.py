"""`make console`: the pages for a deployed stack, named by API_URL and API_KEY in the environment, until Ctrl-C."""

import os
import re
import sys
from urllib.parse import urlsplit

import requests

from local import console, stopping

PORT = 8020
HOW = "make console API_URL=https://….execute-api.….amazonaws.com/v1 API_KEY=…"
NOBODY = "nobody"  # no user's _id


class Unusable(Exception):
    """Raised with the problem of API_URL or API_KEY, and what to do."""


def main() -> int:
    stopping.by_signals()
    try:
        api_url, api_key = settings(os.environ.get("API_URL", ""), os.environ.get("API_KEY", ""))
        with stopping.expected():
            check(api_url, api_key)
            serve(api_url, api_key)
    except Unusable as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def serve(api_url: str, api_key: str) -> None:
    with console.running(api_url, api_key, PORT) as url:
        print(f"DOCS_URL={url}\nUSERS_URL={url}users")
        print("All users of this machine can use these pages. Ctrl-C stops them", flush=True)
        while True:
            stopping.pause()


def settings(api_url: str, api_key: str) -> tuple[str, str]:
    """Return the two without white space around them. Raises Unusable, whose text does not hold the key."""
    api_url, api_key = api_url.strip().rstrip("/"), api_key.strip()
    if not api_url or not api_key:
        raise Unusable(f"Name the API and its key: {HOW}\nThe stack's output ApiUrl is the API's address.")
    url = urlsplit(api_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Unusable(f"API_URL is not an address: {api_url}\nIt looks like this: {HOW}")
    if url.scheme == "http" and not console.is_here(api_url):
        raise Unusable("API_URL begins with http://, which would show the key to everybody on the way. Use https://")
    if not re.fullmatch("[!-~]+", api_key):
        raise Unusable(
            "API_KEY has a character that no key has. Copy the key again: it has ASCII letters, digits, - and _"
        )
    return api_url, api_key


def check(api_url: str, api_key: str) -> None:
    """Ask for a user that does not exist, to detect a wrong URL or key. Raises Unusable."""
    app = console.application(api_url, api_key)
    answer = app.test_client().get(f"/v1/user/{NOBODY}", base_url=f"http://{console.HOST}")
    if answer.status_code == requests.codes.unauthorized:
        raise Unusable(f"{api_url} does not accept this API_KEY. It may be of another stack, expired or revoked.")
    if answer.status_code == requests.codes.bad_gateway:
        raise Unusable(f"{api_url} does not answer. Is the address right, and is there a network?")
    if "This _id does not exist" not in answer.text:
        raise Unusable(f"{api_url} is not an event API: it answered {answer.status_code}. Does the address end in /v1?")


if __name__ == "__main__":
    sys.exit(main())
