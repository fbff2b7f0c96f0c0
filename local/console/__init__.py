"""The pages in a browser: users, refusals, live events of the local stack, and the API's description, to try requests.

`make run` serves them for the local stack, `make console` for any deployed one. The server forwards
the pages' requests to the API and adds the API key, so that no browser ever has it. A client of the server can do all
that the key can do. So the server listens on this machine only, and refuses requests of other web sites.
"""

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from flask import Flask, Response, abort, make_response, render_template, request, send_file, send_from_directory
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server

from local.access_log import PAGES_AGENT
from local.feed import Recent

HOST = "127.0.0.1"
HERE = ("localhost", HOST)
PAGES = Path(__file__).parent / "pages"
OPENAPI = Path(__file__).parents[2] / "docs" / "openapi.json"
NAMES = {"users": "Users", "live": "Live", "refusals": "Refusals", "": "Try it"}
CODES = OPENAPI.with_name("codes.json")
# Nothing from anywhere else.
POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
# Swagger UI styles its elements one by one, and has pictures in its style sheet.
SWAGGER_UIS_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
# The headers of the API that are forwarded; others belong to one connection.
PASSED_ON = ("authorization", "content-type", "idempotency-key", "retry-after")
TIMEOUT_SECONDS = 60


def problem(message: str, description: str) -> dict[str, Any]:
    """Return an error of this server in the form of the API's errors."""
    return {"errors": [{"message": message, "description": description}]}


NO_ANSWER = problem(
    "No answer",
    "The API behind this page did not answer. On this machine, is `make run` still running? Start it again if not.",
)
ANOTHER_SITE = problem(
    "Request of another site", "This server adds an API key, and therefore answers its own pages only."
)


@contextlib.contextmanager
def running(api_url: str, api_key: str, port: int = 0, recent: Recent | None = None) -> Iterator[str]:
    """Serve the pages until the block ends, and yield their address. If the port is 0 or in use, choose a free one."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # its lines have the paths in them, and so addresses
    with listening(port) as listener:
        server = make_server(HOST, port, application(api_url, api_key, recent), threaded=True, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError):
        print(f"Port {port} cannot be used, so the pages are on another one.")
        return socket.create_server((HOST, 0))


def application(api_url: str, api_key: str, recent: Recent | None = None) -> Flask:
    """Return a server of the pages, and of the API at `api_url` under /v1.

    It adds `api_key` to requests without a key. `recent` has the events of the local bus: only with it there is the
    page Live.
    """
    app = Flask(__name__, static_folder=PAGES, static_url_path="/pages", template_folder=PAGES)
    app.config["TRUSTED_HOSTS"] = list(HERE)  # no page elsewhere whose name leads here may read what we answer
    add_pages(app, api_url, recent)

    @app.after_request
    def restrict(response: Response) -> Response:
        policy = SWAGGER_UIS_POLICY if request.path == "/" else POLICY
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.get("/codes.json")
    def codes() -> Response:
        return send_file(CODES)

    @app.get("/openapi.json")
    def openapi() -> Response:
        """Return the OpenAPI document with the API that this server calls."""
        document = json.loads(OPENAPI.read_text())
        document["servers"] = [{"url": "/v1", "description": f"this page, which asks {api_url}"}]
        return Response(json.dumps(document), mimetype="application/json")

    @app.get("/swagger-ui/<path:name>")
    def swagger_ui(name: str) -> Response:
        return send_from_directory(swagger_ui_folder(), name)

    @app.route("/v1/<path:_>", methods=["GET", "POST", "PUT", "DELETE"])
    def pass_on(_: str) -> Response:
        if not from_our_page(request.headers):
            return make_response(ANOTHER_SITE, HTTPStatus.FORBIDDEN)
        if not is_below_v1(request.environ["REQUEST_URI"]):
            abort(HTTPStatus.NOT_FOUND)
        response = ask(api_url, api_key)
        response.headers["Cache-Control"] = "no-store"  # people's data stays out of the browser's files
        return response

    @app.errorhandler(HTTPException)
    def wrong(error: HTTPException) -> tuple[str, int]:
        status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
        return render_template(
            "error.html", error=error, root=f"http://{HOST}:{request.environ['SERVER_PORT']}/"
        ), status

    return app


def add_pages(app: Flask, api_url: str, recent: Recent | None) -> None:
    shown = {path: name for path, name in NAMES.items() if path != "live" or recent}

    @app.context_processor
    def shared() -> dict[str, Any]:
        return {"api_url": api_url, "navigation": list(shown.items()), "root": ""}

    for path, name in shown.items():
        app.add_url_rule(f"/{path}", name, partial(render_template, f"{path or 'api'}.html", page=name))

    @app.get("/live/events")
    def live_events() -> Response:
        if not recent:
            abort(HTTPStatus.NOT_FOUND)
        if not from_our_page(request.headers):
            return make_response(ANOTHER_SITE, HTTPStatus.FORBIDDEN)
        return Response(recent.after(request.args.get("after", 0, int)), mimetype="application/json")


def is_below_v1(uri: str) -> bool:
    """Return whether the API's address and the rest of the URI are an address below the API's.

    Without the slash, an @ further on would make it the address of another host. A segment .. would lead above it.
    """
    segments = (unquote(segment) for segment in uri.partition("?")[0].split("/"))
    return uri.startswith("/v1/") and not {".", ".."} & set(segments)


def from_our_page(headers: Headers) -> bool:
    """Return whether no other site sent the request. Browsers name the site; curl does not, and no site can use it."""
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    return origin in (None, f"http://{headers.get('Host')}") and site in (None, "same-origin", "none")


def ask(api_url: str, api_key: str) -> Response:
    """Forward Flask's current request to the API and return the answer."""
    url = api_url + request.environ["REQUEST_URI"].removeprefix("/v1")

    def authorized(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        # As requests' `auth`, so that it takes none from the user's ~/.netrc.
        prepared.headers.setdefault("Authorization", api_key)
        prepared.headers["User-Agent"] = PAGES_AGENT
        return prepared

    with requests.Session() as session:
        session.trust_env = not is_here(api_url)  # no proxy between two ends of one machine
        try:
            answer = session.request(
                request.method,
                url,
                data=request.get_data(),
                headers=passed_on(request.headers),
                auth=authorized,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException:  # said to the page alone: a stack trace would have the address in it
            return make_response(NO_ANSWER, HTTPStatus.BAD_GATEWAY)
    return Response(answer.content, answer.status_code, passed_on(answer.headers))


def is_here(url: str) -> bool:
    return urlsplit(url).hostname in HERE


def passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith(("x-", "idempotent", *PASSED_ON))}


def swagger_ui_folder() -> Path:
    spec = find_spec("flask_swagger_ui")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "dist"
