"""Who a process is when it claims a reign by itself, without a cluster around it."""

from __future__ import annotations

import os

from rojak_ray import __version__
from rojak_ray.ids import IdSource
from rojak_ray.reign.records import Claim, Mode
from rojak_ray.reign.witness import place_of_process, witness_of


def claim_of_process(ids: IdSource, mode: Mode) -> Claim:
    """A claim of this process: what is done under it ends with the process at the latest."""
    cluster = ids.new_id()
    return Claim(
        number=0,
        cluster=cluster,
        mode=mode,
        place=place_of_process(),
        library=__version__,
        at="",
        witness=witness_of(os.getpid(), life=cluster),
    )
