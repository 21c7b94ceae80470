"""Helpers for tests of agents, without Ray: a runtime in one process, and stores that misbehave on cue."""

from rojak_ray.testing.runtime import InProcessRuntime as InProcessRuntime
from rojak_ray.testing.stores import FaultyStore as FaultyStore
from rojak_ray.testing.stores import RecordingStore as RecordingStore

__all__ = ["FaultyStore", "InProcessRuntime", "RecordingStore"]
