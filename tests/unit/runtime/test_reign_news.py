"""A process that comes back while the catalog is away finds out from storage whether its cluster rules."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.waiting import until

from rojak_ray.journal.paths import Paths
from rojak_ray.reign.records import Claim, encode_claim
from rojak_ray.reign.reign import Duty, Standing
from rojak_ray.runtime import reigning
from rojak_ray.runtime.reigning import ReignNews, Told
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.storage.memory import MemoryStore


class Silent:
    """A catalog that answers when it is let."""

    def __init__(self) -> None:
        self.back = asyncio.Event()
        self.asked = 0

    async def call(self, method: str, *args: Any) -> Any:
        self.asked += 1
        await self.back.wait()
        self.back.clear()  # and holds back the next answer
        return Told(Standing(Duty.RULES, 7), 20.0, float("inf"))


@pytest.mark.parametrize(
    ("claimed_by", "ended", "duty"),
    [("us", False, Duty.RULES), ("them", False, Duty.UNKNOWN), ("us", True, Duty.UNKNOWN), (None, False, Duty.UNKNOWN)],
)
async def test_storage_is_asked_while_the_catalog_is_silent(
    monkeypatch: pytest.MonkeyPatch, claimed_by: str | None, ended: bool, duty: Duty
) -> None:
    monkeypatch.setattr(reigning, "_SILENT_S", 0.0)
    store, paths, catalog = MemoryStore(), Paths("n"), Silent()
    if claimed_by is not None:
        claim = Claim(number=7, cluster=claimed_by, mode="ray", place="here", library="0", at="")
        await store.put_new(paths.reign(7), encode_claim(claim))
    if ended:
        await store.put_new(paths.reign_end(7), b"over")
    settings = RuntimeSettings(namespace="n", storage="memory://")
    news = ReignNews(settings, store, catalog=catalog, cluster=lambda: "us")
    looked = asyncio.Event()
    find_out = news._find_out

    async def and_say_so() -> None:
        await find_out()
        looked.set()

    monkeypatch.setattr(news, "_find_out", and_say_so)
    running = asyncio.create_task(news.run())
    try:
        await looked.wait()
        assert news.reign.standing.duty is duty
        assert news.reign.standing.handover is (duty is Duty.RULES), "who else has something open is not known"
        assert news.reign.valid_s < 10.0
        catalog.back.set()
        await until(lambda: news.reign.standing == Standing(Duty.RULES, 7), "the catalog has the last word")
    finally:
        running.cancel()
