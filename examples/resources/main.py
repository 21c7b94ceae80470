"""Resources: a heavy function with CPUs of its own, while light ones wait beside it.

A synchronous function runs in a Ray task. `@function(num_cpus=2)` makes Ray find a machine with two free CPUs for it,
and keep them for it while it runs; so do `num_gpus`, `memory` and `resources={"name": 1}`. An asynchronous function
shares a process that waits for thousands at once: calls to servers belong there, computing does not.
"""

import asyncio
import hashlib
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import ray

from rojak_ray import OfflineAgent, Rojak, function
from rojak_ray.testing.runtime import InProcessRuntime

CPUS = min(2, os.cpu_count() or 1)  # more than any machine of the cluster has would be waited for, for ever


def lock(pin: int) -> bytes:
    """What a safe keeps of its PIN: slow to compute, so that nobody tries them all. Almost nobody."""
    return hashlib.pbkdf2_hmac("sha256", f"{pin:04}".encode(), b"salt", 4000)


@function(num_cpus=CPUS, timeout=300)  # seconds for one attempt; the usual 60 are meant for calls to servers
def recover_pin(safe: int) -> dict[str, float]:
    """Recover the forgotten PIN of a safe.

    Args:
        safe: The number of the safe.
    """
    begun = time.perf_counter()
    kept = lock(137 * safe % 1000)
    # Ray keeps CPUs free; to use them all is the function's business. Hashes are computed in threads at the same time.
    with ThreadPoolExecutor(CPUS) as pool:
        pin = list(pool.map(lock, range(1000))).index(kept)
    # The result is what the model reads. A large one belongs into a file or bucket, with its place as the result.
    return {"pin": pin, "cpus": reserved(), "seconds": round(time.perf_counter() - begun, 1)}


def reserved() -> float:
    """The CPUs that Ray keeps for the task this runs in; without Ray nobody keeps any."""
    return ray.get_runtime_context().get_assigned_resources().get("CPU", 0.0) if ray.is_initialized() else 0.0


async def fetch_price(item: str) -> str:
    """Fetch the price of an item from a server.

    Args:
        item: What it is, in quotes.
    """
    await asyncio.sleep(0.1)  # a server's answer; nobody's CPU is kept meanwhile
    return f"{item} costs $5"


agent = OfflineAgent(name="Clerk", functions=[recover_pin, fetch_price])


async def main() -> None:
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        heavy = rojak.run(agent=agent, messages="Recover the pin of safe 7.")
        light = rojak.run(agent=agent, messages="Fetch the price of item 'kopi'.")
        for response in await asyncio.gather(heavy, light):
            print(response.messages[-1].content)


asyncio.run(main())
