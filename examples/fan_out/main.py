"""Fan out: a hundred runs at once, over whatever the cluster has, and one answer made of theirs.

Each run is recorded by itself. A program that is killed in the midst of it and started again with the same batch asks
for the same hundred ids: the finished ones answer from their records, the others are joined where they are.

    python examples/fan_out/main.py monday   # run it twice: the second time nothing is done again
"""

import asyncio
import os
import secrets
import sys
import time
from collections import Counter

from rojak_ray import OfflineAgent, OrchestratorResponse, RetryOptions, Rojak, RunError
from rojak_ray.testing.runtime import InProcessRuntime

RUNS = 100
AT_ONCE = 32  # what a program asks for at a time; what a vendor is asked at a time is `max_concurrency` of its options

OPINIONS = ["The laksa is wonderful.", "The queue is terrible.", "It is a food stall."]


def rate_review(text: str, context_variables: dict) -> str:
    """Rate the review.

    Args:
        text: What the guest wrote, in quotes.
        context_variables: Each run has its own.
    """
    opinions = {"wonderful": "good", "terrible": "bad"}
    context_variables["rating"] = next((opinions[word] for word in opinions if word in text), "neutral")
    context_variables["process"] = os.getpid()
    return context_variables["rating"]


agent = OfflineAgent(name="Critic", functions=[rate_review], retry_options=RetryOptions(timeout_in_seconds=120))


async def main() -> None:
    names = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    batch = names[0] if names else secrets.token_hex(4)
    room = asyncio.Semaphore(AT_ONCE)

    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:

        async def rate(number: int) -> OrchestratorResponse | RunError:
            async with room:
                try:
                    return await rojak.run(
                        id=f"{batch}-{number}",  # the same id: the same run, however often it is asked for
                        agent=agent,
                        messages=f'Rate the review "{OPINIONS[number % len(OPINIONS)]}"',
                    )
                except RunError as error:  # one that fails is one of a hundred, and no reason to lose the others
                    return error

        began = time.perf_counter()
        answers = await asyncio.gather(*(rate(number) for number in range(RUNS)))
        seconds = time.perf_counter() - began

    done = [answer for answer in answers if isinstance(answer, OrchestratorResponse)]
    ratings = Counter(answer.context_variables["rating"] for answer in done)
    print(f"{len(done)} of {RUNS} runs answered: {dict(sorted(ratings.items()))}")
    processes = {answer.context_variables["process"] for answer in done}
    print(f"{seconds:.1f} s, in {len(processes)} processes of the cluster")


asyncio.run(main())
