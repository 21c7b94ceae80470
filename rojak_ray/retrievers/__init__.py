"""Where agents look things up."""

from rojak_ray.agents.agent import Retriever as Retriever
from rojak_ray.retrievers.base import RetrieverActivities as RetrieverActivities

__all__ = ["Retriever", "RetrieverActivities"]
