"""The vendor's own async client in a plain loop: nothing is durable. The floor that people know."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import openai

from benchmarks.peers import driver


class RawOpenAI:
    """Histories in memory."""

    packages: ClassVar[tuple[str, ...]] = ("openai", "httpx2")

    def __init__(self, setup: driver.Setup) -> None:
        self._client = openai.AsyncOpenAI(api_key="bench", base_url=setup.url, max_retries=0)
        self._histories: dict[str, list[Any]] = {}

    async def __aenter__(self) -> RawOpenAI:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def turn(self, conversation: str, text: str) -> str:
        """Two completions and the function, by hand."""
        create: Any = self._client.chat.completions.create
        history = self._histories.setdefault(conversation, [{"role": "system", "content": driver.INSTRUCTIONS}])
        history.append({"role": "user", "content": text})
        while True:
            completion = await create(model=driver.MODEL, messages=history, tools=[driver.SCHEMA])
            message = completion.choices[0].message
            history.append(message.model_dump(exclude_none=True))
            if not message.tool_calls:
                return message.content
            for call in message.tool_calls:
                result = driver.add(**json.loads(call.function.arguments))
                history.append({"role": "tool", "tool_call_id": call.id, "content": result})

    once = turn

    async def resume(self, conversation: str) -> str:
        """Nothing was kept: the caller asks everything again."""
        return await self.turn(conversation, driver.MESSAGE)


if __name__ == "__main__":
    driver.main(RawOpenAI)
