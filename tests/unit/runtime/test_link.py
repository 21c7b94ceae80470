"""Requests between processes of one machine: each is answered, or its sender is told that it will not be."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from support.waiting import HANG_S, until

from rojak_ray import errors
from rojak_ray.errors import InternalError, RojakError
from rojak_ray.runtime import frames
from rojak_ray.runtime import link as link_module
from rojak_ray.runtime.frames import Content, Kind, name_and_secret
from rojak_ray.runtime.link import BlockingLink, Link, LinkLost, LinkServer


class Desk:
    """A server whose answers are what the test puts there."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.arrived = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.content: Callable[[bytes], Content] = lambda body: body

    async def take(self, body: bytes) -> Content:
        self.begun.append(body)
        self.arrived.set()
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self.content(body)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest_asyncio.fixture
async def name(desk: Desk) -> AsyncIterator[str]:
    server = LinkServer({Kind.ASK: desk.take, Kind.EXECUTE: desk.take})
    yield await server.name()
    server.close()


@pytest_asyncio.fixture
async def link(name: str) -> AsyncIterator[Link]:
    link = await Link.connect(name)
    assert link is not None
    yield link
    link.close()


async def soon(awaited: Awaitable[object]) -> object:
    async with asyncio.timeout(HANG_S):
        return await awaited


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 5_000_000], ids=["empty", "small", "5 MB"])
async def test_a_request_is_answered(link: Link, body: bytes) -> None:
    assert await soon(link.request(Kind.ASK, body)) == body


async def test_many_requests_at_once_get_their_own_answers(link: Link, desk: Desk) -> None:
    desk.content = lambda body: body[::-1]
    bodies = [f"request {number}".encode() for number in range(500)]
    assert await soon(asyncio.gather(*(link.request(Kind.ASK, body) for body in bodies))) == [b[::-1] for b in bodies]


async def test_no_answer_is_told_from_an_empty_one(link: Link, desk: Desk) -> None:
    desk.content = lambda body: None
    assert await soon(link.request(Kind.ASK, b"")) is None


def every_error() -> list[RojakError]:
    classes = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, RojakError)]
    values = {"status": 429, "retry_after_s": 1.5, "key": "a/b", "run_id": "run", "error_type": "Gone"}
    return [
        each("wörds", **{name: values[name] for name in inspect.signature(each).parameters if name in values})
        for each in classes
    ]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
async def test_errors_arrive_with_class_text_and_fields(link: Link, desk: Desk, error: RojakError) -> None:
    desk.content = lambda body: error
    arrived = await soon(link.request(Kind.ASK, b""))
    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))


async def test_an_error_of_somebody_elses_class_arrives_as_the_nearest_of_ours(link: Link, desk: Desk) -> None:
    class Special(errors.StoreRefused):
        pass

    desk.content = lambda body: Special("disk full", key="k")
    arrived = await soon(link.request(Kind.ASK, b""))
    assert type(arrived) is errors.StoreRefused
    assert arrived.key == "k"


async def test_a_handler_that_raises_is_a_bug_that_is_told(link: Link, desk: Desk) -> None:
    def fail(body: bytes) -> Content:
        raise ZeroDivisionError("by zero")

    desk.content = fail
    arrived = await soon(link.request(Kind.ASK, b""))
    assert isinstance(arrived, InternalError)
    assert "ZeroDivisionError: by zero" in str(arrived)


async def test_what_nobody_takes_is_refused(link: Link) -> None:
    assert isinstance(await soon(link.request(Kind.TAKE, b"")), InternalError)


@pytest.mark.parametrize("cancels", [True, False])
async def test_leaving_stops_the_work_only_if_asked_to(link: Link, desk: Desk, cancels: bool) -> None:
    desk.may_answer.clear()
    asking = asyncio.create_task(link.request(Kind.EXECUTE, b"long", cancels=cancels))
    await soon(desk.arrived.wait())
    asking.cancel()
    await asyncio.wait([asking])
    if cancels:
        await soon(desk.cancelled.wait())
    desk.may_answer.set()
    assert await soon(link.request(Kind.EXECUTE, b"next")) == b"next"
    assert desk.cancelled.is_set() == cancels


@pytest.mark.parametrize(("kind", "stops"), [(Kind.EXECUTE, True), (Kind.ASK, False)])
async def test_a_process_that_is_gone_leaves_its_asks_and_no_work(
    name: str, link: Link, desk: Desk, kind: Kind, stops: bool
) -> None:
    desk.may_answer.clear()
    other = await Link.connect(name)
    assert other is not None
    asking = asyncio.create_task(other.request(kind, b"long"))
    await soon(desk.arrived.wait())
    other.close()
    await asyncio.wait([asking])
    if stops:
        await soon(desk.cancelled.wait())
    desk.may_answer.set()
    assert await soon(link.request(kind, b"next")) == b"next"
    assert desk.cancelled.is_set() == stops


async def test_whoever_waits_is_told_when_the_link_is_lost(link: Link, desk: Desk) -> None:
    desk.may_answer.clear()
    asking = asyncio.create_task(link.request(Kind.ASK, b""))
    await soon(desk.arrived.wait())
    link.close()
    with pytest.raises(LinkLost):
        await soon(asking)
    assert not link.open
    with pytest.raises(LinkLost):
        await soon(link.request(Kind.ASK, b""))


async def test_a_server_that_is_gone_is_noticed_while_waiting() -> None:
    gone: list[frames.Frames] = []
    name = frames.new_name()
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: frames.Frames(
            "secret", lambda connection, *_: gone.append(connection) or connection.close(), serves=True
        ),
        name,
    )
    address = frames.address_of(name, "secret")
    async with server:
        link = await Link.connect(address)
        assert link is not None
        with pytest.raises(LinkLost):
            await soon(link.request(Kind.ASK, b""))
        with pytest.raises(LinkLost):
            await soon(asyncio.to_thread(lambda: BlockingLink(address).request(Kind.TAKE, b"")))
    assert len(gone) == 2


async def test_a_link_belongs_to_the_event_loop_that_made_it(name: str) -> None:
    made = asyncio.Runner()

    def elsewhere() -> Link | None:
        return made.run(Link.connect(name))

    link = await soon(asyncio.to_thread(elsewhere))
    assert isinstance(link, Link)
    assert not link.open
    with pytest.raises(LinkLost):
        await soon(link.request(Kind.ASK, b""))
    await asyncio.to_thread(made.close)
    link.close()  # says nothing, though its loop is closed


async def test_where_no_socket_can_be_had_there_is_no_link(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = frames.new_name()
    monkeypatch.setattr("rojak_ray.runtime.link.new_name", lambda: taken)
    first, second = LinkServer({}), LinkServer({})
    assert frames.name_and_secret(await first.name())[0] == taken
    assert await second.name() == ""
    first.close()


async def test_nobody_there_means_no_link() -> None:
    assert await Link.connect(frames.new_name()) is None
    assert await Link.connect("") is None
    with pytest.raises(OSError, match="refused"):
        BlockingLink(frames.new_name())


async def test_a_name_is_opened_once_and_never_shared(desk: Desk) -> None:
    one, other = LinkServer({Kind.ASK: desk.take}), LinkServer({Kind.ASK: desk.take})
    assert await one.name() == await one.name() != await other.name()
    one.close()
    other.close()


async def test_links_can_be_turned_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROJAK_LINKS", "off")
    assert await LinkServer({}).name() == ""
    assert await Link.connect(name) is None
    with pytest.raises(OSError, match="not used"):
        BlockingLink(name)


def try_as_nobody(name: str) -> int:
    """In a process of another user: 0 if the server there takes nothing from it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 3
    try:
        os.setuid(65534)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(HANG_S)
        connection.connect(frames.name_and_secret(name)[0])
        with contextlib.suppress(OSError):
            connection.sendall(frames.pack(1, Kind.ASK, b"let me in"))
        try:
            code = 1 if connection.recv(1) else 0
        except ConnectionError:
            code = 0
    finally:
        os._exit(code)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_turned_away(name: str, desk: Desk) -> None:
    assert await soon(asyncio.to_thread(try_as_nobody, name)) == 0
    assert not desk.begun


async def test_a_server_of_a_stranger_is_not_asked(name: str, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "same_user", lambda connection: False)
    assert await Link.connect(name) is None
    assert not desk.begun


async def test_another_user_is_a_stranger_and_root_is_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    peers = {"uid": 4711}
    monkeypatch.setattr(frames.os, "geteuid", lambda: 1000)

    class Connection:
        def getsockopt(self, *_: object) -> bytes:
            return frames._CREDENTIALS.pack(1, peers["uid"], 1)

    connection = Connection()
    assert not frames.same_user(connection)  # type: ignore[arg-type]
    peers["uid"] = 1000
    assert frames.same_user(connection)  # type: ignore[arg-type]
    peers["uid"] = 0
    assert frames.same_user(connection)  # type: ignore[arg-type]


async def test_nobody_is_this_user_only_where_all_users_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection:
        def getsockopt(self, *_: object) -> bytes:
            return frames._CREDENTIALS.pack(1, 65534, 1)

    files = {"/proc/sys/kernel/overflowuid": "65534"}
    monkeypatch.setattr(frames.os, "geteuid", lambda: 65534)
    monkeypatch.setattr(frames, "_read", lambda path: files.get(path, ""))
    for mapped, right in [("0 0 4294967295", True), ("65534 1000 1", False), ("0 100000 65536", False), ("", False)]:
        files["/proc/self/uid_map"] = mapped
        assert frames.same_user(Connection()) is right, mapped  # type: ignore[arg-type]
    files["/proc/sys/kernel/overflowuid"] = "65533"
    assert frames.same_user(Connection())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "shown",
    [
        b"",
        frames.pack(1, Kind.ASK, b"let me in"),
        b"x" * 31,
        b"x" * 32 + frames.pack(1, Kind.ASK, b"let me in"),
        frames.proof("another secret", "client") + frames.pack(1, Kind.ASK, b"let me in"),
        b"x" * 5_000_000,
    ],
    ids=["nothing", "a request", "too little", "wrong", "of another link", "a lot"],
)
async def test_who_knows_the_name_alone_is_not_answered(
    name: str, desk: Desk, shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_PROOF_S", 0.05)
    reader, writer = await asyncio.open_unix_connection(frames.name_and_secret(name)[0])
    with contextlib.suppress(ConnectionError):
        writer.write(shown)
        await soon(writer.drain())
    told = b""
    with contextlib.suppress(ConnectionError):
        told = await soon(reader.read())  # type: ignore[assignment]
    writer.close()
    assert told == b""
    assert not desk.begun


async def test_what_a_server_shows_does_not_open_it(name: str, desk: Desk) -> None:
    """A proof overheard by one end is none for the other."""
    plain, secret = frames.name_and_secret(name)
    reader, writer = await asyncio.open_unix_connection(plain)
    writer.write(frames.proof(secret, "server") + frames.pack(1, Kind.ASK, b"let me in"))
    with contextlib.suppress(ConnectionError):
        assert await soon(reader.read()) == b""
    writer.close()
    assert not desk.begun


@pytest.mark.parametrize("shown", [b"", b"x" * 32, b"x" * 32 + frames.pack_reply(0, b"a forged answer")])
async def test_whoever_took_the_name_of_a_server_that_is_gone_is_not_asked(
    shown: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_PROOF_S", 0.2)
    monkeypatch.setattr("rojak_ray.runtime.link._CONNECT_S", 0.2)
    heard = bytearray()

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(shown)
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(1000):
                heard.extend(part)
        writer.close()

    plain, secret = frames.new_name(), frames.new_secret()
    address = frames.address_of(plain, secret)
    async with await asyncio.start_unix_server(impostor, plain):
        assert await Link.connect(address) is None
        with pytest.raises(OSError):
            await soon(asyncio.to_thread(BlockingLink, address))
    assert secret.encode() not in heard
    assert len(heard) <= 2 * 32


STRANGER = """
import re, socket, sys
for line in open("/proc/net/unix"):
    if line.rstrip().endswith(sys.argv[1]):
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(30)
            link.connect("\\0" + sys.argv[1])
            link.sendall(bytes.fromhex(sys.argv[2]))
            try:
                print("told", link.recv(1000))
            except ConnectionError:
                print("told", b"")
"""


@pytest.mark.parametrize("uid", ["0", "65534"])
async def test_another_user_namespace_of_the_same_network_is_not_answered(name: str, desk: Desk, uid: str) -> None:
    """A container beside ours (hostNetwork, a sidecar) sees the name and may have our uid, but not the secret."""
    inside = ["unshare", "--user", f"--map-user={uid}", f"--map-group={uid}"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("user namespaces cannot be made here")
    plain = frames.name_and_secret(name)[0].removeprefix("\0")
    asked = (b"x" * 32 + frames.pack(1, Kind.ASK, b"let me in")).hex()
    stranger = await asyncio.create_subprocess_exec(
        *inside, sys.executable, "-I", "-c", STRANGER, plain, asked, stdout=subprocess.PIPE
    )
    told, _ = await soon(stranger.communicate())  # type: ignore[misc]
    assert told == b"told b''\n"
    assert not desk.begun


async def test_another_network_namespace_sees_no_link(name: str) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--net"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*inside, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("network namespaces cannot be made here")
    plain = frames.name_and_secret(name)[0].removeprefix("\0")
    stranger = await asyncio.create_subprocess_exec(
        *inside, sys.executable, "-I", "-c", STRANGER, plain, "00", stdout=subprocess.PIPE
    )
    told, _ = await soon(stranger.communicate())  # type: ignore[misc]
    assert told == b""


async def test_a_thread_asks_one_thing_after_another(name: str, desk: Desk) -> None:
    desk.content = lambda body: None if body == b"end" else body.upper()

    def work() -> list[Content]:
        link = BlockingLink(name)
        try:
            return [link.request(Kind.ASK, body) for body in (b"one", b"x" * 1_000_000, b"end")]
        finally:
            link.close()

    assert await soon(asyncio.to_thread(work)) == [b"ONE", b"X" * 1_000_000, None]


async def test_strangers_take_only_so_many_descriptors(name: str, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_MOST_STRANGERS", 3)
    place, _ = name_and_secret(name)
    loop = asyncio.get_running_loop()

    async def knock() -> socket.socket:
        stranger = socket.socket(socket.AF_UNIX)
        stranger.setblocking(False)
        await loop.sock_connect(stranger, place)
        return stranger

    strangers = [await knock() for _ in range(3)]
    one_more = await knock()
    assert await loop.sock_recv(one_more, 1) == b""
    assert await Link.connect(name) is None
    for stranger in (*strangers, one_more):
        stranger.close()
    link = await until(lambda: Link.connect(name), "there is room again")
    link.close()
