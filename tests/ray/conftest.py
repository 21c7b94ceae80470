"""One local Ray for all tests of this folder; each module has an installation (namespace and storage) of its own."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from rojak_ray import Rojak
from rojak_ray.runtime import cluster


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    cluster.prepare_environment()
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def installation(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Arguments of `Rojak` that all tests of a module share. Their sessions have actors of their own, for killing."""
    return {
        "storage": str(tmp_path_factory.mktemp("storage")),
        "namespace": f"test-{uuid.uuid4().hex[:8]}",
        "placement": "dedicated",
    }


@pytest_asyncio.fixture
async def rojak(installation: dict[str, str]) -> AsyncIterator[Rojak]:
    async with Rojak(**installation) as client:
        yield client


@pytest.fixture
def unique() -> str:
    """An id nobody else uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def effects(tmp_path: Path) -> Path:
    """A file to which functions append what they did, outside any storage of ours."""
    path = tmp_path / "effects.txt"
    path.touch()
    return path
