"""A gateway that answers everything with what it was sent, in many forms; and where a secret is to be looked for."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote, unquote

from aiohttp import web

KEY = "sk-the-key-itself-0123"
CANARY = "canary/0123+456=789"
SENT_ANYWAY = frozenset({"accept", "accept-encoding", "connection", "content-length", "content-type", "user-agent"})

Answer = Callable[[str], tuple[int, str, str]]
ECHOES: dict[str, Answer] = {
    "as text": lambda sent: (403, "text/plain", sent),
    "as the message of an error": lambda sent: (400, "application/json", json.dumps({"error": {"message": sent}})),
    "as a dictionary": lambda sent: (401, "application/json", json.dumps({"error": {"message": {"headers": sent}}})),
    "as a page": lambda sent: (500, "text/html", f"<html><pre>{html.escape(sent)}</pre></html>"),
    "in base64": lambda sent: (502, "text/plain", base64.b64encode(sent.encode()).decode()),
    "percent-encoded": lambda sent: (404, "text/plain", quote(sent)),
    "in an error within an answer": lambda sent: (200, "application/json", json.dumps({"error": {"message": sent}})),
    "in an answer that is none": lambda sent: (200, "application/json", json.dumps({"choices": [{"message": sent}]})),
    "in what is not JSON": lambda sent: (200, "application/json", "oops " + sent),
    "in an event": lambda sent: (
        200,
        "text/event-stream",
        f"event: error\ndata: {json.dumps({'type': 'error', 'error': {'message': sent}})}\n\n",
    ),
    "in an event that is not JSON": lambda sent: (200, "text/event-stream", f"data: {sent}\n\n"),
}


class Gateway:
    """Repeats what it is asked, in the current form; as an HTTP proxy, too."""

    def __init__(self) -> None:
        self.echo: Answer = ECHOES["as text"]
        self.routes: dict[str, web.Response] = {}
        """True answers, by the beginning of a path."""
        self.sent: list[str] = []
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items() if is_telling(name))
        self.sent.append(f"{request.path_qs}\n{headers}")
        for path, answer in self.routes.items():
            if request.path.startswith(path):
                return web.Response(body=answer.body, headers=answer.headers)
        status, content_type, body = self.echo(self.sent[-1])
        return web.Response(
            status=status, body=body.encode(), content_type=content_type, headers={"x-request-id": headers[:0] or "r"}
        )


def is_telling(name: str) -> bool:
    return name.lower() not in SENT_ANYWAY and not name.lower().startswith("x-stainless")


@asynccontextmanager
async def serving() -> AsyncGenerator[Gateway]:
    gateway = Gateway()
    runner = web.ServerRunner(web.Server(gateway.answer, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway.port = runner.addresses[0][1]
    try:
        yield gateway
    finally:
        await runner.cleanup()


def hidden(secret: str) -> list[str]:
    """The spellings of a secret that the gateway and the libraries use."""
    return [
        secret,
        quote(secret, safe=""),
        base64.b64encode(secret.encode()).decode()[:-4],
        base64.b64encode(f"user:{secret}".encode()).decode(),
        html.escape(secret),
    ]


def leaks(where: str, *secrets: str) -> list[str]:
    read = where + unquote(where) + html.unescape(where)
    return [spelled for secret in secrets for spelled in hidden(secret) if spelled in read]
