"""Options of a Qdrant retriever: what is refused where the program is written, what travels, and what never shows."""

import os
from pathlib import Path

import pytest
from support.embedding import by_words

from rojak_ray.errors import ConfigError, RetrieverRejected
from rojak_ray.redaction import Secrets
from rojak_ray.retrievers import OpenAIEmbedder, Passage, QdrantRetrieverActivities, QdrantRetrieverOptions
from rojak_ray.retrievers.embedders import embed
from rojak_ray.retrievers.failures import said, status_failure, tidy

KEY = "qd-very-secret-0123456789"


def options(url="http://localhost:6333", collection_name="docs", **given):
    return QdrantRetrieverOptions(url, collection_name, **given)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"url": ""}, "http://host:6333"),
        ({"url": None}, "http://host:6333"),
        ({"url": "localhost:6333"}, "write http://localhost:6333"),
        ({"url": "grpc://user:pw@host"}, "must begin with http"),
        ({"collection_name": ""}, "collection_name"),
        ({"payload_key": 3}, "payload_key"),
        ({"limit": 0}, "limit"),
        ({"limit": 2.5}, "limit"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"embedder": "openai"}, "embedder"),
        ({"template": "{text"}, "template"),
        ({"template": None}, "template"),
        ({"documents": ["x"]}, "AsyncQdrantClient.upsert"),
        ({"url": ":memory:", "documents": [{"title": "x"}]}, "'document'"),
        ({"url": ":memory:", "documents": [{"document": "x", "tags": {"a"}}]}, "JSON"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_correct(given, complaint):
    with pytest.raises(ConfigError) as refusal:
        options(**given)
    assert complaint in str(refusal.value)
    assert "pw" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "exclusive"),
    [(":memory:", True), ("some/folder", True), ("http://localhost:6333/", False), ("https://cloud.example", False)],
)
def test_only_what_is_opened_here_belongs_to_one_process(url, exclusive):
    assert QdrantRetrieverActivities(options(url)).exclusive == exclusive


def test_folder_is_the_same_one_wherever_it_is_opened(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert options("data").url == options("./data/").url == options(f"file://{tmp_path}/data").url
    assert options("data").url == str(Path(tmp_path, "data"))
    assert options("~/data").url == os.path.expanduser("~/data")


def test_key_of_the_options_wins_and_travels_with_them_and_is_never_shown(monkeypatch):
    monkeypatch.setenv("QDRANT_API_KEY", f"{KEY}-of-the-environment\n")
    assert options(api_key=f" {KEY}\n").key(os.environ) == KEY
    assert options(":memory:").key(os.environ) is None
    travels = options().__getstate__()
    assert travels["api_key"] == f"{KEY}-of-the-environment"
    with pytest.raises(ConfigError, match="no HTTP header"):
        options(api_key="schlüssel").key({})
    activities = QdrantRetrieverActivities(options("http://me:secret@host", api_key=KEY), type="mine")
    for shown in (repr(activities), repr(OpenAIEmbedder(api_key=KEY, base_url="http://me:secret@host/v1"))):
        assert "secret" not in shown
        assert "host" in shown


def test_several_collections_are_told_apart_by_their_type():
    assert QdrantRetrieverActivities(options()).type == "qdrant"
    assert QdrantRetrieverActivities(options(), type="faq").type == "faq"
    with pytest.raises(TypeError, match="QdrantRetrieverOptions"):
        QdrantRetrieverActivities({"url": ":memory:"})  # type: ignore[arg-type]


def test_same_document_has_the_same_id_wherever_and_whenever_it_is_added():
    first = options(":memory:", documents=["a", {"document": "b", "x": 1, "y": 2}])
    second = options(":memory:", documents=[{"y": 2, "x": 1, "document": "b"}, "a", "a"])
    assert first.payloads() == second.payloads()
    assert len(first.payloads()) == 2


def test_template_writes_text_score_id_and_payload():
    found = [
        Passage("One.", 0.75, 1, {"document": "One.", "source": "a.md", "score": "theirs"}),
        Passage("{Two}.", 0.5, 2, {"document": "{Two}."}),
    ]
    assert options().write(found) == "One.\n{Two}."
    assert options(template="[{source}] {text} ({score:.2f}, {id})").write(found) == (
        "[a.md] One. (0.75, 1)\n[] {Two}. (0.50, 2)"
    )
    assert options().write([]) == ""


class Row:
    """What libraries return for one text: an array with one row."""

    def tolist(self):
        return [[1, 2.5]]


def test_embedder_may_be_any_callable():
    async def asynchronous(text):
        return (1, 2.5)

    class Callable:
        async def __call__(self, text):
            return [1, 2.5]

    async def all_of_them():
        given = [asynchronous, lambda text: [1, 2.5], lambda text: asynchronous(text), lambda text: Row(), Callable()]
        return [await embed(one, "x") for one in given]

    import asyncio

    assert asyncio.run(all_of_them()) == [[1.0, 2.5]] * 5


@pytest.mark.parametrize("returned", [None, [], "text", [1, "2"], [float("nan")], [[1], [2]], {"a": 1}])
async def test_embedder_that_returns_something_else_is_told(returned):
    with pytest.raises(RetrieverRejected, match="embedder"):
        await embed(lambda text: returned, "x")


async def test_word_vectors_of_the_tests_see_equal_words():
    assert await by_words("a b") == await by_words("B, A!")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"status":{"error":"no such thing"},"time":0.0}', "no such thing"),
        ('{"error":{"message":"bad model","type":"x"}}', "bad model"),
        ('{"detail":"Not Found"}', "Not Found"),
        ("<html>  Bad\n Gateway</html>", "<html> Bad Gateway</html>"),
        ('{"status":null}', '{"status":null}'),
        (f'{{"error":"key {KEY} is wrong"}}', "key *** is wrong"),
    ],
)
def test_servers_words_are_found_and_cleaned(body, words):
    assert said(body, Secrets([KEY])) == words


def test_status_tells_what_may_pass_and_how_long_it_takes():
    busy = status_failure("It", 429, "slow down", retry_after="7")
    assert (busy.retryable, busy.retry_after_s) == (True, 7.0)
    assert status_failure("It", 503, "", retry_after="Wed, 21 Oct 2026 07:28:00 GMT").retry_after_s is None
    refused = status_failure("It", 404, "not there.", remedy="Look elsewhere.")
    assert (refused.retryable, str(refused)) == (False, "It answered 404: not there. Look elsewhere.")
    assert len(tidy("x" * 9999)) < 600
