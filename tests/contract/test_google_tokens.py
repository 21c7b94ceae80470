"""Google's tokens: one that is refused or ends is replaced by another, which is asked for off the event loop.

Whoever gives tokens here runs on the test's own event loop, so a client that blocked it would never get one.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rojak_ray.errors import StoreRefused
from rojak_ray.storage import clients
from rojak_ray.storage.objects import ObjectStore


class Google:
    """Gives tokens by number, and answers those that are good."""

    def __init__(self) -> None:
        self.given = 0
        self.asked_with: list[str] = []
        self.good = {"Bearer token-1"}
        self.lasts_s = 3600
        self.holds: asyncio.Event | None = None

    async def token(self, request: web.Request) -> web.Response:
        await request.read()
        if self.holds is not None:
            await self.holds.wait()
        self.given += 1
        return web.json_response({"access_token": f"token-{self.given}", "expires_in": self.lasts_s})

    async def answer(self, request: web.Request) -> web.Response:
        self.asked_with.append(request.headers.get("Authorization", ""))
        if self.asked_with[-1] not in self.good:
            about = {"message": "Invalid Credentials", "errors": [{"reason": "authError"}]}
            return web.json_response({"error": about}, status=401)
        return web.json_response({"kind": "storage#objects", "items": [{"name": "p/key"}]})


@pytest.fixture
async def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[tuple[Google, ObjectStore]]:
    served = Google()
    app = web.Application()
    app.router.add_post("/token", served.token)
    app.router.add_get("/storage/v1/b/bucket/o", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    about = {"type": "service_account", "client_email": "c@p.example", "project_id": "p", "token_uri": f"{url}/token"}
    (tmp_path / "key").write_text(json.dumps({**about, "private_key": key.decode(), "private_key_id": "1"}))
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "STORAGE_EMULATOR"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key"))
    store = ObjectStore("gs://bucket/p", options={"endpoint_url": url})
    yield served, store
    await store.aclose()
    await runner.cleanup()


async def test_a_refused_token_is_replaced(google: tuple[Google, ObjectStore], monkeypatch: pytest.MonkeyPatch) -> None:
    served, store = google
    monkeypatch.setattr(clients, "RENEW_EVERY_S", 0.0)
    assert await store.list("") == ["key"]
    served.good = {"Bearer token-2"}
    assert await store.list("") == ["key"]
    assert served.asked_with == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]


async def test_who_is_refused_for_good_is_told_and_asks_for_one_more_token_only(
    google: tuple[Google, ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, store = google
    monkeypatch.setattr(clients, "RENEW_EVERY_S", 0.0)
    served.good = set()
    with pytest.raises(StoreRefused, match="GOOGLE_APPLICATION_CREDENTIALS"):
        await store.list("")
    assert served.given == 2


async def test_one_token_is_asked_for_however_many_calls_wait_for_it(google: tuple[Google, ObjectStore]) -> None:
    served, store = google
    served.holds = asyncio.Event()
    calls = [asyncio.create_task(store.list("")) for _ in range(20)]
    served.holds.set()
    assert await asyncio.gather(*calls) == [["key"]] * 20
    assert served.given == 1


async def test_a_token_near_its_end_is_replaced_before_it_is_refused(google: tuple[Google, ObjectStore]) -> None:
    served, store = google
    served.good = {"Bearer token-1", "Bearer token-2", "Bearer token-3"}
    served.lasts_s = 60  # Google's own package takes that for over
    await store.list("")
    await store.list("")
    assert served.asked_with == ["Bearer token-1", "Bearer token-2"]
