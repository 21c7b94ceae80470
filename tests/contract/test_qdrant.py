"""What a Qdrant retriever promises, wherever the database is, through Qdrant's own client; and how each fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, models
from ray import cloudpickle
from support.embedding import by_words, word_vector
from support.qdrant_server import Fault, HangUp, QdrantServer, Silence

from rojak_ray.errors import ConfigError, MissingExtra, MissingKey, RetrieverRejected, RetrieverUnavailable
from rojak_ray.retrievers import FastEmbedder, OpenAIEmbedder, QdrantRetrieverActivities, QdrantRetrieverOptions

pytestmark = [pytest.mark.filterwarnings("ignore:Api key is used with an insecure")]

KEY = "qd-very-secret-0123456789"
PAYLOADS = [
    {"document": "Durian is sold by the kilo.", "kind": "fruit", "text": "DURIAN"},
    {"document": "Rambutan is sold by the bunch.", "kind": "fruit", "text": "RAMBUTAN"},
    {"document": "Laksa is a soup with noodles.", "kind": "dish", "text": "LAKSA"},
]
QUESTION = "Is durian sold by the kilo?"


async def fill(client: AsyncQdrantClient) -> None:
    """A collection with an unnamed vector and one with a named."""
    params = models.VectorParams(size=64, distance=models.Distance.COSINE)
    points = [(number, payload, word_vector(payload["document"])) for number, payload in enumerate(PAYLOADS, 1)]
    await client.create_collection("docs", vectors_config=params)
    await client.upsert("docs", [models.PointStruct(id=i, payload=p, vector=v) for i, p, v in points])
    await client.create_collection("named", vectors_config={"words": params})
    await client.upsert("named", [models.PointStruct(id=i, payload=p, vector={"words": v}) for i, p, v in points])


@pytest.fixture(params=["folder", "server"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if request.param == "server":
        async with QdrantServer() as server:
            await fill(server.database)
            yield server.url
        return
    client = AsyncQdrantClient(path=str(tmp_path / "db"))
    await fill(client)
    await client.close()
    yield str(tmp_path / "db")


@asynccontextmanager
async def asking(url: str, collection_name: str = "docs", **given: Any) -> AsyncIterator[QdrantRetrieverActivities]:
    """Activities that have travelled, as they do to the process that asks."""
    made = QdrantRetrieverActivities(QdrantRetrieverOptions(url, collection_name, **{"embedder": by_words, **given}))
    activities = cloudpickle.loads(cloudpickle.dumps(made))
    try:
        yield activities
    finally:
        await activities.aclose()


async def failure_of(activities: QdrantRetrieverActivities, text: str = QUESTION) -> Any:
    """The error of one question, checked to be fit for another process and free of the key."""
    with pytest.raises(Exception) as caught:
        await activities.retrieve_and_combine_results(text)
    error = caught.value
    copy = cloudpickle.loads(cloudpickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))
    assert error.__cause__ is None
    assert KEY not in "".join(traceback.format_exception(error))
    return error


async def test_passages_come_with_the_best_first(url: str) -> None:
    async with asking(url, limit=2) as activities:
        passages = await activities.retrieve(QUESTION)
        assert [passage.id for passage in passages] == [1, 2]
        assert passages[0].score > passages[1].score
        assert passages[0].payload == PAYLOADS[0]
        assert await activities.retrieve_and_combine_results(QUESTION) == (
            "Durian is sold by the kilo.\nRambutan is sold by the bunch."
        )


async def test_what_is_not_like_the_question_is_left_out(url: str) -> None:
    async with asking(url, score_threshold=0.7) as activities:
        assert await activities.retrieve_and_combine_results(QUESTION) == PAYLOADS[0]["document"]
        assert await activities.retrieve_and_combine_results("zzz") == ""


@pytest.mark.parametrize("made", [True, False], ids=["Qdrant's own", "JSON"])
async def test_filter_keeps_what_it_says(url: str, made: bool) -> None:
    condition = {"must": [{"key": "kind", "match": {"value": "dish"}}]}
    async with asking(url, filter=models.Filter.model_validate(condition) if made else condition) as activities:
        assert [passage.id for passage in await activities.retrieve(QUESTION)] == [3]


async def test_named_vector_payload_key_and_template(url: str) -> None:
    options = {"vector_name": "words", "payload_key": "text", "template": "- {text} ({kind})", "limit": 1}
    async with asking(url, "named", **options) as activities:
        assert await activities.retrieve_and_combine_results(QUESTION) == "- DURIAN (fruit)"


@pytest.mark.parametrize(
    ("collection", "given", "complaint"),
    [
        ("nope", {}, "has no collection 'nope'. Create and fill it, or correct collection_name."),
        (
            "docs",
            {"embedder": lambda text: word_vector(text, 8)},
            "The vectors of collection 'docs' have 64 numbers, the embedder's have 8.",
        ),
        ("docs", {"vector_name": "x"}, "Collection 'docs' has no vector 'x', but one without a name."),
        ("named", {}, "Collection 'named' has no vector without a name, but 'words'. Correct vector_name"),
        ("docs", {"payload_key": "body"}, "no text under 'body'; their payload has: document, kind, text."),
    ],
)
async def test_what_does_not_fit_the_collection_is_told_with_the_remedy(
    url: str, collection: str, given: dict[str, Any], complaint: str
) -> None:
    async with asking(url, collection, **given) as activities:
        error = await failure_of(activities)
    assert isinstance(error, RetrieverRejected)
    assert complaint in str(error)


async def test_filter_that_is_none_of_qdrants_is_told(url: str) -> None:
    async with asking(url, filter={"must_be": "x"}) as activities:
        assert isinstance(error := await failure_of(activities), ConfigError)
        assert "must_be" in str(error)


# A folder, and memory


@pytest.mark.parametrize("place", ["folder", ":memory:"])
async def test_documents_of_the_options_are_added_once(place: str, tmp_path: Path) -> None:
    embedded: list[str] = []

    async def counting(text: str) -> list[float]:
        embedded.append(text)
        return await by_words(text)

    given = {"documents": ["Durian is sold by the kilo.", {"document": "Laksa is a soup."}], "limit": 1}
    url = place if place == ":memory:" else str(tmp_path / "db")
    activities = QdrantRetrieverActivities(QdrantRetrieverOptions(url, "new", embedder=counting, **given))  # type: ignore[arg-type]
    both = await asyncio.gather(*(activities.retrieve_and_combine_results(q) for q in ("durian kilo", "a soup")))
    assert both == ["Durian is sold by the kilo.", "Laksa is a soup."]
    assert len(embedded) == 1 + 2 + 2  # the first to learn the size, the documents, the questions
    await activities.aclose()
    if place != ":memory:":
        embedded.clear()
        assert await activities.retrieve_and_combine_results("a soup") == "Laksa is a soup."
        assert embedded == ["a soup"]
        await activities.aclose()


async def test_two_retrievers_that_fill_one_collection_at_once_fill_it_once(tmp_path: Path) -> None:
    async def thinking(text: str) -> list[float]:
        await asyncio.sleep(0)  # the other one's turn
        return await by_words(text)

    path, given = str(tmp_path / "db"), {"embedder": thinking, "documents": ["one fish", "two fish"]}
    async with asking(path, "fish", **given) as one, asking(path, "fish", **given) as two:
        found = await asyncio.gather(one.retrieve("fish"), two.retrieve("fish"))
    assert [len(passages) for passages in found] == [2, 2]


async def test_filling_that_was_interrupted_is_finished_by_the_next_question(tmp_path: Path) -> None:
    left = [3]

    async def tiring(text: str) -> list[float]:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionError("no more")
        return await by_words(text)

    documents = ["one fish", "two fish", "red fish", "blue fish"]
    async with asking(str(tmp_path / "db"), "fish", embedder=tiring, documents=documents) as activities:
        activities._embedder = tiring  # the one whose strength we can restore
        assert isinstance(await failure_of(activities, "blue"), ConnectionError)
        left[0] = 3
        assert (await activities.retrieve("blue"))[0].text == "blue fish"


async def test_two_retrievers_of_one_process_share_a_folder_and_free_it_together(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    async with asking(path, "a", documents=["one a"]) as first:
        async with asking(path, "b", documents=["one b"]) as second:
            assert await first.retrieve_and_combine_results("one") == "one a"
            assert await second.retrieve_and_combine_results("one") == "one b"
        assert await first.retrieve_and_combine_results("one") == "one a"
    client = AsyncQdrantClient(path=path)
    assert (await client.count("b")).count == 1
    await client.close()


async def test_folder_that_another_process_has_open_is_told_and_works_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "db"
    program = (
        "import sys; from qdrant_client import QdrantClient; "
        f"client = QdrantClient(path={str(path)!r}); print('open', flush=True); sys.stdin.read(); client.close()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "open\n"
        async with asking(str(path), "docs", documents=["one"]) as activities:
            error = await failure_of(activities)
            assert isinstance(error, RetrieverUnavailable)
            assert "already accessed" in str(error)
            assert "close it there, or run a Qdrant server" in str(error)
            other.stdin.close()
            assert other.wait(10) == 0
            assert await activities.retrieve_and_combine_results("one") == "one"


async def test_folder_without_a_database_is_told_and_not_made(tmp_path: Path) -> None:
    async with asking(str(tmp_path / "nowhere")) as activities:
        assert isinstance(error := await failure_of(activities), RetrieverRejected)
    assert f"There is no Qdrant database in {tmp_path}/nowhere on this machine" in str(error)
    assert not (tmp_path / "nowhere").exists()


# A server


@pytest.fixture
async def server() -> AsyncIterator[QdrantServer]:
    async with QdrantServer(KEY) as running:
        await fill(running.database)
        yield running


async def test_question_on_the_wire(server: QdrantServer) -> None:
    condition = {"must": [{"key": "kind", "match": {"value": "fruit"}}]}
    async with asking(server.url, api_key=KEY, limit=3, score_threshold=0.5, filter=condition) as activities:
        await activities.retrieve(QUESTION)
    [asked] = server.requests
    assert asked.path == "/collections/docs/points/query"
    assert asked.headers["api-key"] == KEY
    assert asked.body["query"] == {"nearest": word_vector(QUESTION)}
    assert (asked.body["limit"], asked.body["score_threshold"], asked.body["with_payload"]) == (3, 0.5, True)
    assert asked.body["filter"] == condition


async def test_key_of_the_environment_is_used_where_the_options_have_none(
    server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", KEY)
    async with asking(server.url) as activities:
        monkeypatch.delenv("QDRANT_API_KEY")  # the process that asks need not have it
        assert await activities.retrieve(QUESTION)
    monkeypatch.setenv("QDRANT_API_KEY", "another")
    async with asking(server.url, api_key=KEY) as activities:
        assert await activities.retrieve(QUESTION)


@pytest.mark.parametrize(
    ("fault", "kind", "complaint"),
    [
        (Fault(401, f"bad key {KEY}"), RetrieverRejected, "answered 401: bad key ***. Correct api_key, or QDRANT_API"),
        (Fault(403, "no rights"), RetrieverRejected, "answered 403: no rights. Correct api_key, or QDRANT_API_KEY."),
        (Fault(400, "no such thing"), RetrieverRejected, "answered 400: no such thing"),
        (Fault(500, "lost"), RetrieverUnavailable, "answered 500: lost"),
        (Fault(503, body="<html>gateway</html>"), RetrieverUnavailable, "answered 503: <html>gateway</html>"),
        (Fault(429, "slow down"), RetrieverUnavailable, "answered 429: slow down"),
        (HangUp(), RetrieverUnavailable, "cannot be reached"),
        (Silence(), TimeoutError, "did not answer in time (1 s)"),
        (Fault(200, body='{"hello": 1}'), RetrieverRejected, "an answer that is not Qdrant's"),
        (Fault(200, body="not json"), RetrieverRejected, "an answer that is not Qdrant's"),
        (Fault(200, body='{"result": {"points"'), RetrieverRejected, "an answer that is not Qdrant's"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:20],
)
async def test_servers_trouble_becomes_an_error_of_ours(
    server: QdrantServer, fault: Any, kind: type[Exception], complaint: str
) -> None:
    server.enqueue(fault)
    timeout_s = 1 if isinstance(fault, Silence) else 20
    async with asking(server.url, api_key=KEY, timeout_s=timeout_s) as activities:
        error = await failure_of(activities)
        assert type(error) is kind
        assert complaint in str(error)
        if kind is not TimeoutError:
            assert server.url in str(error) or "Qdrant" in str(error)
        assert (await activities.retrieve(QUESTION))[0].id == 1


async def test_busy_server_says_how_long(server: QdrantServer) -> None:
    server.enqueue(Fault(429, "slow down", {"Retry-After": "3"}), Fault(503, "soon", {"Retry-After": "2"}))
    async with asking(server.url, api_key=KEY) as activities:
        assert (await failure_of(activities)).retry_after_s == 3
        assert (await failure_of(activities)).retry_after_s == 2


async def test_server_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    async with asking(f"http://127.0.0.1:{unused_tcp_port}", api_key=KEY) as activities:
        error = await failure_of(activities)
    assert isinstance(error, RetrieverUnavailable)
    assert f"Qdrant at http://127.0.0.1:{unused_tcp_port} cannot be reached" in str(error)
    assert "does it run?" in str(error)


def test_one_object_serves_programs_with_one_loop_after_another(tmp_path: Path) -> None:
    async def ask() -> str:
        async with QdrantServer() as running:
            await fill(running.database)
            made.options.url = running.url
            return await made.retrieve_and_combine_results(QUESTION)

    made = QdrantRetrieverActivities(QdrantRetrieverOptions("http://x", "docs", embedder=by_words, limit=1))
    assert [asyncio.run(ask()) for _ in range(2)] == [PAYLOADS[0]["document"]] * 2


# Embedders


async def test_openai_compatible_endpoint_embeds(server: QdrantServer) -> None:
    embedder = OpenAIEmbedder("tiny", api_key=KEY, base_url=server.embeddings_url + "/", dimensions=64)
    async with asking(server.url, api_key=KEY, embedder=embedder) as activities:
        assert (await activities.retrieve(QUESTION))[0].id == 1
    asked = server.requests[0]
    assert (asked.path, asked.headers["Authorization"]) == ("/v1/embeddings", f"Bearer {KEY}")
    assert asked.body == {"model": "tiny", "input": QUESTION, "dimensions": 64}


async def test_endpoint_is_found_in_the_environment_of_the_program(
    server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.embeddings_url)
    async with asking(server.url, api_key=KEY, embedder=OpenAIEmbedder()) as activities:
        monkeypatch.delenv("OPENAI_API_KEY")
        monkeypatch.delenv("OPENAI_BASE_URL")
        assert (await activities.retrieve(QUESTION))[0].id == 1


async def test_no_key_meets_an_address_of_another_environment(
    server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("QDRANT_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    async with QdrantServer() as free, QdrantServer() as foreign:
        embedder = OpenAIEmbedder(base_url=free.embeddings_url)
        async with asking(free.url, embedder=embedder) as activities:
            monkeypatch.setenv("QDRANT_API_KEY", "of-the-node")
            monkeypatch.setenv("OPENAI_API_KEY", "of-the-node")
            monkeypatch.setenv("OPENAI_BASE_URL", foreign.embeddings_url)
            assert isinstance(await failure_of(activities), RetrieverRejected)  # no collection, but both were asked
        assert free.requests
        assert not [asked for asked in free.requests if "of-the-node" in str(dict(asked.headers))]
        monkeypatch.delenv("OPENAI_BASE_URL")
        travelled = cloudpickle.loads(cloudpickle.dumps(OpenAIEmbedder(api_key=KEY)))
        monkeypatch.setenv("OPENAI_BASE_URL", foreign.embeddings_url)
        assert travelled._completed().base_url == "https://api.openai.com/v1"
        again = cloudpickle.loads(cloudpickle.dumps(travelled))
        assert (again._completed().api_key, again._completed().base_url) == (KEY, "https://api.openai.com/v1")
        assert foreign.requests == []


async def test_server_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with QdrantServer() as free, asking(":memory:", embedder=OpenAIEmbedder(base_url=free.embeddings_url)) as a:
        assert isinstance(await failure_of(a), RetrieverRejected)  # no collection, but a vector
        assert "Authorization" not in free.requests[0].headers
    async with asking(":memory:", embedder=OpenAIEmbedder()) as activities:
        assert isinstance(error := await failure_of(activities), MissingKey)
        assert "OPENAI_API_KEY" in str(error)


@pytest.mark.parametrize(
    ("fault", "kind", "complaint"),
    [
        (
            Fault(401, body=f'{{"error":{{"message":"bad key {KEY}"}}}}'),
            RetrieverRejected,
            "bad key ***. Correct api_key",
        ),
        (Fault(404, body='{"error":{"message":"no model"}}'), RetrieverRejected, "no model. Correct base_url"),
        (Fault(429, body='{"error":{"message":"pay","code":"insufficient_quota"}}'), RetrieverRejected, "pay"),
        (Fault(429, body='{"error":{"message":"slow down"}}'), RetrieverUnavailable, "slow down"),
        (Fault(502, body="<html>"), RetrieverUnavailable, "502"),
        (HangUp(), RetrieverUnavailable, "cannot be reached"),
        (Silence(), TimeoutError, "did not answer in time"),
        (Fault(200, body='{"data": []}'), RetrieverRejected, "an answer without a vector"),
        (Fault(200, body="no json"), RetrieverRejected, "an answer without a vector"),
        (Fault(200, body='{"data":[{"embedding":"AAAA"}]}'), RetrieverRejected, "embedder"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:20],
)
async def test_endpoints_trouble_becomes_an_error_of_ours(
    server: QdrantServer, fault: Any, kind: type[Exception], complaint: str
) -> None:
    server.enqueue(fault)
    embedder = OpenAIEmbedder(api_key=KEY, base_url=server.embeddings_url)
    timeout_s = 1 if isinstance(fault, Silence) else 20
    async with asking(server.url, api_key=KEY, embedder=embedder, timeout_s=timeout_s) as activities:
        error = await failure_of(activities)
        assert type(error) is kind
        assert complaint in str(error)
        assert (await activities.retrieve(QUESTION))[0].id == 1


async def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, words in {
        "fastembed": "pip install fastembed",
        "qdrant_client": "pip install 'rojak-ray[qdrant]'",
    }.items():
        monkeypatch.setitem(sys.modules, package, None)
        async with asking(":memory:", embedder=FastEmbedder(), documents=["x"]) as activities:
            error = await failure_of(activities)
        assert isinstance(error, MissingExtra)
        assert words in str(error)


def test_ancestors_names_are_there_without_loading_the_client() -> None:
    code = (
        "import sys; from rojak_ray.retrievers import QdrantRetriever, QdrantRetrieverActivities as A, "
        "QdrantRetrieverOptions as O, Retriever, RetrieverActivities; "
        "assert A(O(url='http://localhost:6333', collection_name='x')).type == QdrantRetriever().type == 'qdrant'; "
        "print([name for name in ('qdrant_client', 'numpy', 'httpx', 'httpx2') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
