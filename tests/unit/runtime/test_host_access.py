"""A client asks a host through Ray until it has a link, then over the link, and learns when either is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from ray.exceptions import RayError
from support.waiting import HANG_S

from rojak_ray.errors import RunNotFound
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.envelope import Envelope
from rojak_ray.runtime.frames import Content, Kind
from rojak_ray.runtime.host_access import HostAccess
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.link import LinkServer
from rojak_ray.runtime.outbox import RepliesLost

RUN = Owner("run", "r")


class Method:
    """A method of an actor's handle."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.remote = call


class Host:
    """An actor with a link server; it says which way it was asked."""

    def __init__(self) -> None:
        self.server = LinkServer({Kind.ASK: self._over_link})
        self.ask = Method(self._through_ray)
        self.link = Method(self._name)
        self.linked = asyncio.Event()
        self.broken = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def _through_ray(self, packed: bytes) -> bytes:
        return b"ray " + Envelope.unpack(packed).ask

    async def _name(self) -> str:
        if self.broken:
            raise RayError("the actor is on its way back")
        return await self.server.name()

    async def _over_link(self, packed: bytes) -> Content:
        self.linked.set()
        ask = Envelope.unpack(packed).ask
        await self.answers.wait()
        return RunNotFound("no such run") if ask == b"unknown" else None if ask == b"odd" else b"link " + ask


@pytest_asyncio.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    yield host
    host.server.close()


@pytest_asyncio.fixture
async def access(host: Host) -> AsyncIterator[HostAccess]:
    access = HostAccess(host, shared=True)  # type: ignore[arg-type]
    yield access
    await access.aclose()


async def ask(access: HostAccess, what: bytes = b"a", *, waits: bool = False) -> object:
    async with asyncio.timeout(HANG_S):
        return await access.ask(RUN, what, ("life", 1), HostMap(2), waits=waits)


async def linked(access: HostAccess) -> None:
    async with asyncio.timeout(HANG_S):
        while await ask(access) != b"link a":
            await asyncio.sleep(0)


@pytest.mark.parametrize("waits", [True, False])
async def test_the_first_ask_goes_through_ray_and_later_ones_over_the_link(access: HostAccess, waits: bool) -> None:
    assert await ask(access, waits=waits) == b"ray a"
    await linked(access)
    assert await ask(access, b"b", waits=waits) == b"link b"


async def test_errors_come_back_as_answers(access: HostAccess) -> None:
    await linked(access)
    assert isinstance(await ask(access, b"unknown"), RunNotFound)


async def test_asks_go_through_ray_where_there_is_no_link(access: HostAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROJAK_LINKS", "off")
    for _ in range(5):
        assert await ask(access) == b"ray a"


async def test_a_host_that_cannot_say_where_its_link_is_is_asked_through_ray(access: HostAccess, host: Host) -> None:
    host.broken = True
    for _ in range(5):
        assert await ask(access) == b"ray a"


async def test_who_waits_when_the_link_is_lost_has_to_ask_again(access: HostAccess, host: Host) -> None:
    await linked(access)
    host.linked.clear()
    host.answers.clear()
    asking = asyncio.create_task(ask(access))
    async with asyncio.timeout(HANG_S):
        await host.linked.wait()
    await access.aclose()
    with pytest.raises(RepliesLost):
        await asking


async def test_after_a_lost_link_ray_is_asked_and_a_new_link_made(access: HostAccess) -> None:
    await linked(access)
    await access.aclose()
    assert await ask(access) == b"ray a"
    await linked(access)
