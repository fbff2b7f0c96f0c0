"""The API's documentation in a browser, to try on the local stack: Swagger UI, showing docs/openapi.json.

It passes the page's requests on to the API, so that page and API have one origin and the browser lets them talk.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import requests
from flask import Flask, Response, make_response, render_template, request, send_from_directory
from werkzeug.serving import make_server

from local import aws, stack

OPENAPI = stack.ROOT / "docs"
# Nothing from anywhere else. Swagger UI styles its elements one by one, and has pictures in its style sheet.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
# Of the API's headers; the rest belongs to one connection or the other.
PASSED_ON = ("authorization", "content-type", "idempotency-key", "retry-after")
NO_ANSWER = {"errors": [{"message": "No answer", "description": "The API behind this page did not answer."}]}


@contextlib.contextmanager
def running(api_url: str, api_key: str, port: int = 0) -> Iterator[str]:
    """The page's address, until the block ends: on the given port, or on a free one if that is taken."""
    try:
        stack.check_free(port)
    except stack.StackError:
        port = 0
    port = port or stack.free_port()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # its lines have the paths in them, and so addresses
    server = make_server(aws.HOST, port, application(api_url, api_key), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{aws.HOST}:{port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def application(api_url: str, api_key: str) -> Flask:
    app = Flask(__name__, template_folder=".", static_folder=None)
    app.config["TRUSTED_HOSTS"] = [aws.HOST, "localhost"]  # no page elsewhere whose name leads here may read the key

    @app.after_request
    def restrict(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @app.get("/")
    def index() -> str:
        return render_template("index.html", api_key=api_key)

    @app.get("/start.js")
    def start() -> Response:
        return send_from_directory(Path(__file__).parent, "start.js")

    @app.get("/openapi.json")
    def openapi() -> Response:
        return send_from_directory(OPENAPI, "openapi.json")

    @app.get("/swagger-ui/<path:name>")
    def swagger_ui(name: str) -> Response:
        return send_from_directory(swagger_ui_folder(), name)

    @app.route("/v1/<path:_>", methods=["GET", "POST", "PUT", "DELETE"])
    def pass_on(_: str) -> Response:
        url = api_url + request.environ["REQUEST_URI"].removeprefix("/v1")
        with requests.Session() as session:
            session.trust_env = False  # no proxy between two ends of one machine
            try:
                answer = session.request(
                    request.method, url, data=request.get_data(), headers=passed_on(request.headers), timeout=60
                )
            except requests.RequestException:  # said to the page alone: a stack trace would have the address in it
                return make_response(NO_ANSWER, HTTPStatus.BAD_GATEWAY)
        return Response(answer.content, answer.status_code, passed_on(answer.headers))

    return app


def passed_on(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith(("x-", "idempotent", *PASSED_ON))}


def swagger_ui_folder() -> Path:
    spec = find_spec("flask_swagger_ui")
    assert spec
    assert spec.origin
    return Path(spec.origin).parent / "dist"
