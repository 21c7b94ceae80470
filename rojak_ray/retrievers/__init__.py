"""Where agents look things up. Importing this loads no database's client: that comes with the first question."""

from rojak_ray.agents.agent import Retriever as Retriever
from rojak_ray.retrievers.base import RetrieverActivities as RetrieverActivities
from rojak_ray.retrievers.embedders import FastEmbedder as FastEmbedder
from rojak_ray.retrievers.embedders import OpenAIEmbedder as OpenAIEmbedder
from rojak_ray.retrievers.qdrant import QdrantRetriever as QdrantRetriever
from rojak_ray.retrievers.qdrant import QdrantRetrieverActivities as QdrantRetrieverActivities
from rojak_ray.retrievers.qdrant_options import Passage as Passage
from rojak_ray.retrievers.qdrant_options import QdrantRetrieverOptions as QdrantRetrieverOptions

__all__ = [
    "FastEmbedder",
    "OpenAIEmbedder",
    "Passage",
    "QdrantRetriever",
    "QdrantRetrieverActivities",
    "QdrantRetrieverOptions",
    "Retriever",
    "RetrieverActivities",
]
