"""A conversation that processes only take up and lose again is still written down whole from time to time."""

from __future__ import annotations

import asyncio

from rojak_ray.journal.replay import replay
from rojak_ray.journal.thresholds import SNAPSHOT_REPLAYED

from .scene import OWNER, Scene, played
from .world import PATHS


def test_conversation_that_is_opened_again_and_again_and_never_told_anything_is_snapshotted():
    async def play(scene: Scene) -> None:
        await scene.opened()
        for _ in range(3 * SNAPSHOT_REPLAYED):
            scene.pool = scene.new_pool()  # the one before is never heard of again
            await scene.pool.recover(lambda owner: owner == OWNER)
            await asyncio.sleep(1.0)
        replayed = await replay(scene.memory, PATHS, OWNER)
        assert replayed.records <= SNAPSHOT_REPLAYED
        assert len(replayed.fences) == 3 * SNAPSHOT_REPLAYED, "all but the first, who had nobody to fence"
        assert len(await scene.memory.list(PATHS.snapshots(OWNER))) == 2

    played(play)
