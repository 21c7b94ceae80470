"""Retrievers: what an agent is told with each question. One asks Qdrant, the other is a dozen lines of one's own."""

import asyncio
import hashlib
import re
import sys

from rojak_ray import Agent, AgentActivities, AgentResponse, Rojak
from rojak_ray.agents import Retriever
from rojak_ray.retrievers import (
    QdrantRetriever,
    QdrantRetrieverActivities,
    QdrantRetrieverOptions,
    RetrieverActivities,
)
from rojak_ray.testing.runtime import InProcessRuntime

MENU = [
    "Laksa: rice noodles in a spicy coconut soup.",
    "Rojak: a salad of fruit and fried dough in a dark, sweet sauce.",
    "Kopi: coffee with condensed milk.",
]


async def embed(text):
    """Mark every word of a text in a vector. A real program asks a model, such as `OpenAIEmbedder()`."""
    vector = [0.0] * 256
    for word in re.findall(r"\w+", text.lower()):
        vector[hashlib.sha256(word.encode()).digest()[0]] += 1.0
    return vector


class PriceListActivities(RetrieverActivities):
    """Finds the prices of what is mentioned."""

    type = "prices"
    prices = {"laksa": 6.5, "rojak": 5, "kopi": 1.6}

    async def retrieve_and_combine_results(self, text):
        """Look for every dish in the question."""
        mentioned = [dish for dish in self.prices if dish in text.lower()]
        return "\n".join(f"{dish} costs ${self.prices[dish]:.2f}" for dish in mentioned)


class QuotingActivities(AgentActivities):
    """Instead of a model: quotes what it was given to answer with."""

    type = "quoting"

    async def call(self, params):
        """Read the end of the instructions, where the retrievers' results are."""
        _, _, context = params.messages[0].content.partition("the user's question:\n")
        return AgentResponse(content=" / ".join(context.splitlines()) or "I have nothing on that.")


agent = Agent(name="Waiter", model="none", type="quoting", retriever=[QdrantRetriever(), Retriever("prices")])


async def main():
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        menu = QdrantRetrieverOptions(
            ":memory:",
            "menu",
            embedder=embed,
            documents=MENU,
            limit=1,
            score_threshold=0.2,
            template="On the menu: {text}",
        )
        await rojak.create_worker([QuotingActivities()], [QdrantRetrieverActivities(menu), PriceListActivities()])
        for question in ("Do you have noodles in a soup?", "What does a laksa cost?", "Is there parking?"):
            response = await rojak.run(agent=agent, messages=question)
            print(f"{question} {response.messages[-1].content}")


asyncio.run(main())
