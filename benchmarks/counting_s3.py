"""An S3 server on loopback that counts what a bill would: moto's, with a counter in front. `GET /-/counts` tells.

`python -m benchmarks.counting_s3` prints its port. Every request is counted as it arrives, retries included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def kind(method: str, path: str, query: str) -> str:
    """What S3 calls a request: PUT, GET, LIST, HEAD, DELETE, POST."""
    in_bucket = bool(path.strip("/").partition("/")[2])
    if method == "GET" and ("list-type" in query or not in_bucket):
        return "LIST"
    return method


class Counting:
    """Counts requests and bytes by kind."""

    def __init__(self, app: Wsgi) -> None:
        """Answer with `app`."""
        self._app = app
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
        if path == "/-/counts":
            start_response("200 OK", [("content-type", "application/json")])
            return [json.dumps(self._counts).encode()]
        name = kind(environ["REQUEST_METHOD"], path, query)
        sent = b"".join(self._app(environ, start_response))
        with self._lock:
            self._counts[name] += 1
            self._counts[f"{name} bytes in"] += int(environ.get("CONTENT_LENGTH") or 0)
            self._counts[f"{name} bytes out"] += len(sent)
        return [sent]


def main() -> None:
    """Serve until the process is ended."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: object, **__: object) -> None:
            """Say nothing."""

    app: Any = Counting(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def running() -> Iterator[str]:
    """The endpoint of a server in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.counting_s3"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(10)


def counts(endpoint: str) -> Counter[str]:
    """What was counted so far."""
    with urllib.request.urlopen(f"{endpoint}/-/counts", timeout=10) as reply:
        return Counter(json.load(reply))


if __name__ == "__main__":
    main()
