"""A real embedding and a real Qdrant on real text, this project's documentation: the right passage comes first."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.embedding import real
from support.optional import need_package

from rojak_ray.retrievers import QdrantRetrieverActivities, QdrantRetrieverOptions

ROOT = Path(__file__).parents[2]
QUESTIONS = {
    "What happens to a conversation that keeps killing its process?": "`Recovered` is written before a host",
    "How do I delete a session and what remains of it?": "`Deleted` is an event",
    "Which function is meant when two have the same name?": "took two callables for one wherever they differed",
    "How are large values stored?": "has its large values",
    "How does a custom provider get the schemas of functions?": "carries each function's schema to a provider",
    "How is the removal of the last record noticed?": "Every record is witnessed by the next one",
    "Why are synchronous functions Ray tasks?": "**Functions** are ordinary callables",
    "What are context variables?": "**Context variables** are plain JSON data",
    "Which buckets and credentials can storage use?": "**Storage** is a path or a URL",
}


def paragraphs() -> list[dict[str, str]]:
    """The documentation, cut at its empty lines, without its programs."""
    found: list[dict[str, str]] = []
    for path in [ROOT / "README.md", ROOT / "docs" / "architecture.md", *sorted(ROOT.glob("docs/decisions/000*.md"))]:
        prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        texts = [" ".join(part.split()) for part in re.split(r"\n\s*\n", prose)]
        found += [{"document": text, "source": path.name} for text in texts if len(text) > 60]
    return found


@pytest.fixture(scope="module")
async def library(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[QdrantRetrieverActivities]:
    need_package("wordllama", "wordllama")
    options = QdrantRetrieverOptions(
        str(tmp_path_factory.mktemp("library") / "db"),
        "documentation",
        embedder=real,
        documents=paragraphs(),
        limit=3,
        template="[{source}] {text}",
        timeout_s=60,
    )
    activities = QdrantRetrieverActivities(options)
    yield activities
    await activities.aclose()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("question", QUESTIONS)
async def test_right_passage_comes_first(library: QdrantRetrieverActivities, question: str) -> None:
    first, *others = await library.retrieve(question)
    assert QUESTIONS[question] in first.text, [passage.text[:80] for passage in (first, *others)]
    assert (await library.retrieve_and_combine_results(question)).startswith(f"[{first.payload['source']}] ")
