"""Bare HTTP in a plain loop: the time that nobody can save."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import httpx2

from benchmarks.peers import driver


class RawHttp:
    """Histories in memory."""

    packages: ClassVar[tuple[str, ...]] = ("httpx2",)

    def __init__(self, setup: driver.Setup) -> None:
        limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=1000)
        self._client = httpx2.AsyncClient(base_url=setup.url, timeout=60, limits=limits)
        self._histories: dict[str, list[Any]] = {}

    async def __aenter__(self) -> RawHttp:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def turn(self, conversation: str, text: str) -> str:
        """Two completions and the function, by hand."""
        history = self._histories.setdefault(conversation, [{"role": "system", "content": driver.INSTRUCTIONS}])
        history.append({"role": "user", "content": text})
        while True:
            body = {"model": driver.MODEL, "messages": history, "tools": [driver.SCHEMA]}
            reply = await self._client.post("/chat/completions", json=body)
            message = reply.raise_for_status().json()["choices"][0]["message"]
            history.append(message)
            if not message.get("tool_calls"):
                return message["content"]
            for call in message["tool_calls"]:
                result = driver.add(**json.loads(call["function"]["arguments"]))
                history.append({"role": "tool", "tool_call_id": call["id"], "content": result})

    once = turn

    async def resume(self, conversation: str) -> str:
        """Nothing was kept: the caller asks everything again."""
        return await self.turn(conversation, driver.MESSAGE)


if __name__ == "__main__":
    driver.main(RawHttp)
