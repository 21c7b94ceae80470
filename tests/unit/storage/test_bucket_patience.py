"""The object store's own part: retries, deadlines, words. The vendors' clients: test_vendor_wires, tests/e2e."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from support.waiting import until

from rojak_ray.errors import MissingExtra, ObjectExists, ObjectNotFound, StorageError, StoreRefused, StoreUnavailable
from rojak_ray.storage import objects
from rojak_ray.storage.drivers import Expect, Outcome, Page
from rojak_ray.storage.objects import ObjectStore
from rojak_ray.storage.presence import MARK


class Trouble(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"vendor says {outcome.name}")
        self.outcome = outcome


class ScriptedDriver:
    """A vendor that fails as told."""

    failures: ClassVar = (Trouble, OSError)
    credentials: ClassVar = "VENDOR_KEY"
    script: ClassVar[list[Outcome]] = []
    opened: ClassVar[list["ScriptedDriver"]] = []
    pages: ClassVar[dict[str | None, Page]] = {None: Page([])}

    def __init__(self) -> None:
        self.calls = 0
        self.closed = False

    @classmethod
    async def open(cls, bucket: str, options: object) -> "ScriptedDriver":
        cls.opened.append(cls())
        await asyncio.sleep(0)
        return cls.opened[-1]

    async def _call(self) -> None:
        self.calls += 1
        if self.script:
            raise Trouble(self.script.pop(0))

    async def create(self, name: str, data: bytes) -> None:
        await self._call()

    async def read(self, name: str, expect: Expect) -> bytes:
        if not name.endswith(MARK):
            await self._call()
        return name.encode()

    async def remove(self, name: str) -> None:
        await self._call()

    async def page(self, prefix: str, after: str, start: str | None) -> Page:
        await self._call()
        return self.pages[start]

    async def folders(self, prefix: str, start: str | None) -> Page:
        return await self.page(prefix, "", start)

    def secrets(self) -> tuple[str, ...]:
        return ()

    async def close(self) -> None:
        self.closed = True

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        return error.outcome if isinstance(error, Trouble) else Outcome.UNKNOWN


class FakeClock:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, clock: FakeClock) -> ObjectStore:
    monkeypatch.setitem(objects.DRIVERS, "s3", (__name__, "ScriptedDriver", "s3"))
    monkeypatch.setattr(ScriptedDriver, "script", [])
    monkeypatch.setattr(ScriptedDriver, "opened", [])
    return ObjectStore("s3://bucket/root", clock=clock)


async def test_a_silent_vendor_is_asked_again(store: ObjectStore, clock: FakeClock) -> None:
    ScriptedDriver.script = [Outcome.UNKNOWN] * 3
    assert await store.get("key") == b"root/key"
    assert len(clock.slept) == 3
    assert 0.05 <= clock.slept[0] <= 0.1 <= clock.slept[1] <= 0.2 <= clock.slept[2] <= 0.4


async def test_patience_ends(store: ObjectStore, clock: FakeClock) -> None:
    ScriptedDriver.script = [Outcome.UNKNOWN] * 1000
    with pytest.raises(StoreUnavailable, match="30 s") as caught:
        await store.put_new("key", b"x")
    assert 20 < clock.monotonic() < 30
    assert len(clock.slept) < 40
    assert (caught.value.key, caught.value.retryable) == ("key", True)
    assert "vendor says UNKNOWN" in str(caught.value)


async def test_a_vendor_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    hasty = ObjectStore("s3://bucket/root", patience_s=0.05)

    async def hang(_self: ScriptedDriver, _name: str, _expect: Expect) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(ScriptedDriver, "read", hang)
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await hasty.get("key")


@pytest.mark.parametrize(
    ("outcome", "error", "words"),
    [
        (Outcome.TAKEN, ObjectExists, "key"),
        (Outcome.NO_BUCKET, StoreRefused, "no bucket 'bucket'"),
        (Outcome.NOT_ALLOWED, StoreRefused, "VENDOR_KEY"),
        (Outcome.REFUSED, StoreRefused, "Trying again cannot help.*vendor says REFUSED"),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
async def test_an_answer_is_final(
    store: ObjectStore, outcome: Outcome, error: type[StorageError], words: str, before: int
) -> None:
    ScriptedDriver.script = [Outcome.UNKNOWN] * before + [outcome]
    with pytest.raises(error, match=words) as caught:
        await store.put_new("key", b"x")
    assert caught.value.key == "key"
    assert ScriptedDriver.opened[0].calls == before + 1


async def test_nothing_is_there_is_an_answer_to_a_read_alone(store: ObjectStore) -> None:
    ScriptedDriver.script = [Outcome.MISSING]
    with pytest.raises(ObjectNotFound):
        await store.get("key")
    for call in (lambda: store.put_new("key", b"x"), lambda: store.list(""), lambda: store.folders("")):
        ScriptedDriver.script = [Outcome.MISSING] * 1000
        with pytest.raises(StoreUnavailable):
            await call()


async def test_taken_is_an_answer_to_a_write_alone(store: ObjectStore) -> None:
    for call in (lambda: store.get("key"), lambda: store.delete("key"), lambda: store.list("")):
        ScriptedDriver.script = [Outcome.TAKEN] * 1000
        with pytest.raises(StoreUnavailable):
            await call()


@pytest.mark.parametrize("surprise", [RecursionError("deep"), KeyError("Body"), AttributeError("status")])
async def test_what_a_package_should_not_raise_leaves_the_outcome_open_and_is_logged_once(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, surprise: Exception
) -> None:
    async def fail(*_: object) -> None:
        raise surprise

    monkeypatch.setattr(ScriptedDriver, "create", fail)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=type(surprise).__name__):
            await store.put_new("key", b"x")
    logged = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(logged) == 1
    assert "in fail" in (logged[0].exc_text or ""), "the place in the package is named"


async def test_refused_credentials_are_looked_for_again(store: ObjectStore, clock: FakeClock) -> None:
    await store.get("key")
    clock.slept.append(10)
    ScriptedDriver.script = [Outcome.NOT_ALLOWED]
    assert await store.get("key") == b"root/key"
    assert len(ScriptedDriver.opened) == 2
    await until(lambda: ScriptedDriver.opened[0].closed, "closing the old client")


async def test_credentials_that_stay_refused_are_looked_for_every_few_seconds_at_most(
    store: ObjectStore, clock: FakeClock
) -> None:
    for number in range(30):
        ScriptedDriver.script = [Outcome.NOT_ALLOWED] * 3
        with pytest.raises(StoreRefused):
            await store.get("key")
        clock.slept.append(1)
        assert len(ScriptedDriver.opened) <= 2 + number / 3
    assert len(ScriptedDriver.opened) > 5


async def test_calls_under_way_keep_the_client_whose_credentials_were_refused_to_others(
    store: ObjectStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, real = asyncio.Event(), ScriptedDriver.read

    async def read(self: ScriptedDriver, name: str, expect: Expect) -> bytes:
        if name.endswith("slow"):
            await go.wait()
            assert not self.closed
        return await real(self, name, expect)

    monkeypatch.setattr(ScriptedDriver, "read", read)
    slow = asyncio.ensure_future(store.get("slow"))
    await asyncio.sleep(0)
    await store.get("key")
    clock.slept.append(10)
    ScriptedDriver.script = [Outcome.NOT_ALLOWED]
    await store.get("key")
    assert [driver.closed for driver in ScriptedDriver.opened] == [False, False]
    go.set()
    assert await slow == b"root/slow"
    await until(lambda: ScriptedDriver.opened[0].closed, "closing the old client")
    await store.aclose()
    assert ScriptedDriver.opened[1].closed


async def test_an_object_may_take_as_long_as_its_size_warrants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(objects.DRIVERS, "s3", (__name__, "ScriptedDriver", "s3"))
    large = 10 << 20
    hasty = ObjectStore("s3://bucket/root", patience_s=0.05)

    async def create(_self: ScriptedDriver, name: str, data: bytes) -> None:
        await asyncio.sleep(0.3)

    async def read(_self: ScriptedDriver, name: str, expect: Expect) -> bytes:
        if name.endswith("large"):
            expect(large)
        await asyncio.sleep(0 if name.endswith(MARK) else 0.3)
        return b"x"

    monkeypatch.setattr(ScriptedDriver, "create", create)
    monkeypatch.setattr(ScriptedDriver, "read", read)
    await hasty.put_new("large", bytes(large))
    assert await hasty.get("large") == b"x"
    with pytest.raises(StoreUnavailable):
        await hasty.put_new("small", b"x")
    with pytest.raises(StoreUnavailable):
        await hasty.get("small")
    await hasty.aclose()


async def test_a_large_object_that_was_cut_short_late_is_tried_once_more(
    store: ObjectStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    async def cut_short(_self: ScriptedDriver, name: str, data: bytes) -> None:
        tries.append(len(data))
        clock.slept.append(40)
        raise OSError("connection reset")

    monkeypatch.setattr(ScriptedDriver, "create", cut_short)
    for size, expected in ((10 << 20, 2), (1, 1)):
        with pytest.raises(StoreUnavailable):
            await store.put_new("key", bytes(size))
        assert tries == [size] * expected
        tries.clear()


async def test_deleting_what_is_not_there(store: ObjectStore) -> None:
    ScriptedDriver.script = [Outcome.MISSING]
    await store.delete("key")


async def test_a_page_without_names_need_not_be_the_last(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {
        None: Page([], "1"),
        "1": Page(["root/b/", "root/a"], "2"),
        "2": Page(["root/c"], "3"),
        "3": Page([]),
    }
    monkeypatch.setattr(ScriptedDriver, "pages", pages)
    assert await store.list("") == ["a", "c"]
    assert await store.list("", limit=1) == ["a"]
    assert await store.folders("") == ["a", "b/", "c"]
    assert await store.list("", limit=0) == []


async def test_a_listing_that_turns_in_circles_ends(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedDriver, "pages", {None: Page([], "1"), "1": Page([], "1")})
    with pytest.raises(StoreUnavailable, match="listing"):
        await store.list("")


async def test_one_client_for_all_calls_of_a_loop(store: ObjectStore) -> None:
    await asyncio.gather(*(store.get(f"key{number}") for number in range(10)))
    assert len(ScriptedDriver.opened) == 1
    await store.aclose()
    assert ScriptedDriver.opened[0].closed
    await store.get("key")
    assert len(ScriptedDriver.opened) == 2


async def test_a_client_that_did_not_open_is_opened_again(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[[str, object], Any] = ScriptedDriver.open
    attempts = 0

    async def fail_first(bucket: str, options: object) -> ScriptedDriver:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise OSError("no network yet")
        return await real(bucket, options)

    monkeypatch.setattr(ScriptedDriver, "open", fail_first)
    assert await store.get("key") == b"root/key"


async def test_closing_after_a_failed_open_is_quiet(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_bucket: str, _options: object) -> ScriptedDriver:
        raise OSError("no network")

    monkeypatch.setattr(ScriptedDriver, "open", fail)
    with pytest.raises(StoreUnavailable, match="no network"):
        await store.get("key")
    await store.aclose()


@pytest.mark.parametrize(
    ("url", "module", "package", "extra"),
    [
        ("s3://b1/x", "s3", "aiobotocore", "s3"),
        ("gs://b1/x", "gcs", "google.auth", "gcs"),
        ("az://b1/x", "azure", "azure.identity", "azure"),
    ],
)
async def test_a_missing_package_says_what_to_install(
    url: str, module: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"rojak_ray.storage.{module}", raising=False)
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'rojak-ray\[{extra}\]'"):
        await ObjectStore(url).get("key")
