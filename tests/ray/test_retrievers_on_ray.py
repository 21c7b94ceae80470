"""Retrievers on a real Ray: a folder has one owner among all processes, and its loss is soon made up for."""

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from qdrant_client import QdrantClient, models
from support.actors import kill_actor, process_of, shared_host_of
from support.embedding import by_words, real, word_vector
from support.optional import need_package
from support.plan import PlanAgent
from support.qdrant_server import QdrantServer
from support.waiting import lines, until

from rojak_ray import Rojak
from rojak_ray.agents import AgentActivities, AgentCallParams, AgentResponse, Retriever
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import replay
from rojak_ray.retrievers import (
    OpenAIEmbedder,
    QdrantRetriever,
    QdrantRetrieverActivities,
    QdrantRetrieverOptions,
    RetrieverActivities,
)
from rojak_ray.runtime.settings import RETRIEVERS
from rojak_ray.storage.open import open_store

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure"),
]

DISHES = ["Laksa is a noodle soup with coconut milk.", "Rojak is a salad of fruit in a dark sauce.", "Kopi is coffee."]


class Parrot(AgentActivities):
    """A model that repeats its instructions."""

    type = "plan"

    async def call(self, params: AgentCallParams) -> AgentResponse:
        return AgentResponse(type="text", content=params.messages[0].content)


def knowing(*retrievers: Retriever) -> PlanAgent:
    return PlanAgent(name="A", instructions="", retriever=list(retrievers))


@pytest.fixture(scope="module")
def installation(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """With two step workers, which would lock each other out of a folder."""
    storage = str(tmp_path_factory.mktemp("storage"))
    return {"storage": storage, "namespace": f"test-{uuid.uuid4().hex[:8]}", "step_workers": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("qdrant") / "db")


@pytest_asyncio.fixture
async def worker(rojak: Rojak, folder: str) -> AsyncIterator[None]:
    """Two collections in one folder, and a model."""
    need_package("wordllama", "wordllama")
    made = [
        QdrantRetrieverActivities(
            QdrantRetrieverOptions(folder, "dishes", embedder=real, documents=DISHES, limit=1, timeout_s=60)
        ),
        QdrantRetrieverActivities(
            QdrantRetrieverOptions(folder, "places", embedder=by_words, documents=["Lau Pa Sat is a hawker centre."]),
            type="places",
        ),
    ]
    async with await rojak.create_worker([Parrot()], made):
        yield


async def test_two_sessions_in_processes_of_their_own_share_a_folder(
    rojak: Rojak, worker: None, folder: str, unique: str
) -> None:
    agent = knowing(QdrantRetriever(), QdrantRetriever("places"))
    sessions = [await rojak.create_session(f"{unique}-{number}", agent) for number in range(2)]
    soup, drink = await asyncio.gather(
        sessions[0].send_messages("Which soup has noodles and coconut?"),
        sessions[1].send_messages("Is there coffee in a hawker centre?"),
    )

    found = [str(response.messages[-1].content).partition("question:\n")[2] for response in (soup, drink)]
    assert found == [f"{DISHES[0]}\nLau Pa Sat is a hawker centre.", f"{DISHES[2]}\nLau Pa Sat is a hawker centre."]
    with pytest.raises(RuntimeError, match="already accessed"):
        QdrantClient(path=folder)


async def test_lost_owner_of_a_folder_opens_it_again(rojak: Rojak, worker: None, unique: str) -> None:
    agent = knowing(QdrantRetriever())
    await rojak.run(agent=agent, messages="coffee")
    first = process_of(rojak, RETRIEVERS)
    os.kill(first, signal.SIGKILL)

    response = await rojak.run(agent=agent, messages="I would like a fruit salad.")

    assert DISHES[1] in str(response.messages[-1].content)
    assert process_of(rojak, RETRIEVERS) != first


async def test_crash_between_retrieval_and_answer_retrieves_nothing_again(
    rojak: Rojak, unique: str, effects: Path
) -> None:
    path = str(effects)

    class Noting(RetrieverActivities):
        type = "noting"

        async def retrieve_and_combine_results(self, text: str) -> str:
            with open(path, "a") as file:
                file.write(f"looked up {text}\n")
            return f"about {text}"

    class Slow(Parrot):
        type = "slow"

        async def call(self, params: AgentCallParams) -> AgentResponse:
            with open(path, "a") as file:
                file.write("asked\n")
            while not Path(path + ".go").exists():
                await asyncio.sleep(0.02)
            return await super().call(params)

    async with await rojak.create_worker([Slow()], [Noting()]):
        agent = PlanAgent(type="slow", name="A", instructions="", retriever=Retriever("noting"))
        handle = await rojak.start_run(unique, agent, "durian")
        await until(lambda: "asked" in lines(effects), "the model is asked")
        await recorded(rojak, unique)
        kill_actor(rojak, shared_host_of(rojak, "run", unique))
        await until(lambda: lines(effects).count("asked") == 2, "the model is asked again")
        Path(path + ".go").touch()
        response = await handle.result()

    assert str(response.messages[-1].content).endswith("about durian")
    assert lines(effects).count("looked up durian") == 1


async def recorded(rojak: Rojak, run_id: str) -> None:
    """Wait until what was found is in the journal."""
    store = open_store(rojak.settings.storage)

    async def found() -> Any:
        run = (await replay(store, Paths(rojak.settings.namespace), Owner("run", run_id))).state.run
        return run is not None and run.found

    await until(found, "the retrieval is recorded")
    await store.aclose()


async def test_server_and_endpoint_are_asked_with_the_keys_of_the_program(
    rojak: Rojak, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "one-key-for-both-0123456789"
    monkeypatch.setenv("QDRANT_API_KEY", key)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    async with QdrantServer(key) as server:
        params = models.VectorParams(size=64, distance=models.Distance.COSINE)
        await server.database.create_collection("dishes", vectors_config=params)
        points = [
            models.PointStruct(id=number, vector=word_vector(text), payload={"document": text})
            for number, text in enumerate(DISHES)
        ]
        await server.database.upsert("dishes", points)
        embedder = OpenAIEmbedder(base_url=server.embeddings_url)
        options = QdrantRetrieverOptions(server.url, "dishes", embedder=embedder, limit=1)
        await rojak.create_worker([Parrot()], [QdrantRetrieverActivities(options, type="server")])
        response = await rojak.run(agent=knowing(QdrantRetriever("server")), messages="Kopi is coffee?")
        assert DISHES[2] in str(response.messages[-1].content)


async def test_retriever_that_fails_costs_a_run_no_more_than_moments(rojak: Rojak, unused_tcp_port: int) -> None:
    options = QdrantRetrieverOptions(f"http://127.0.0.1:{unused_tcp_port}", "dishes", embedder=by_words)
    await rojak.create_worker([Parrot()], [QdrantRetrieverActivities(options, type="gone")])
    began = time.monotonic()
    response = await rojak.run(agent=knowing(QdrantRetriever("gone")), messages="hi")

    assert response.messages[-1].content == ""
    assert time.monotonic() - began < 10, "it was not tried again for half a minute"
