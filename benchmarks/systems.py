"""What is compared, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

PROCESSES = "n/a: a process for each conversation; use shared hosts for crowds"


@dataclass(frozen=True)
class Contender:
    """One row of the comparison."""

    name: str
    title: str
    peer: str
    """Its folder under `benchmarks/peers`, which is also the name of its environment; ours is the checkout's own."""

    acts: str
    """Who had to act after a crash, given that a supervisor starts the program again: itself, or the caller."""

    variant: str = ""
    server: str = ""
    """The server it needs beside its program: temporal, bucket."""

    python: str = ""
    """The Python version it needs, if not ours."""

    hello: str = "hello.py"
    """Its durable hello world; empty if it has none."""

    skips: dict[str, str] = field(default_factory=dict)
    """Workloads that do not apply, with what their cell says."""

    @property
    def ours(self) -> bool:
        """Whether it is this project."""
        return self.peer == "rojak_ray"


_NO_SCHEDULES = {"schedules": "none"}
_NO_ACTOR = {"actor": "n/a"}
_PLAIN = {**_NO_SCHEDULES, **_NO_ACTOR}
_DURABLE_HELLO = {"cold": "n/a: not durable"}

CONTENDERS = (
    Contender(
        "httpx2", "raw httpx2 (true floor)", "raw_httpx2", "caller", hello="", skips={**_PLAIN, **_DURABLE_HELLO}
    ),
    Contender("openai", "raw openai SDK (floor)", "raw_openai", "caller", hello="", skips={**_PLAIN, **_DURABLE_HELLO}),
    Contender("rojak-ray", "**rojak-ray**, shared", "rojak_ray", "itself", "shared"),
    Contender(
        "rojak-ray-dedicated",
        "**rojak-ray**, dedicated",
        "rojak_ray",
        "itself",
        "dedicated",
        skips={"crowd": PROCESSES, "burst": PROCESSES, "cold": "as shared", "schedules": "as shared"},
    ),
    Contender(
        "rojak-ray-s3",
        "**rojak-ray**, shared, S3 (SeaweedFS)",
        "rojak_ray",
        "itself",
        "shared",
        "bucket",
        skips={"cold": "as shared"},
    ),
    Contender(
        "rojak-ray-in-process",
        "**rojak-ray**, in process, no Ray",
        "rojak_ray",
        "itself",
        "in-process",
        hello="hello_in_process.py",
        skips=_NO_ACTOR,
    ),
    Contender(
        "rojak-temporal", "rojak 0.2.1 on Temporal", "rojak_temporal", "itself", "", "temporal", "3.12", skips=_NO_ACTOR
    ),
    Contender(
        "openai-agents-temporal",
        "openai-agents on Temporal",
        "openai_agents_temporal",
        "itself",
        "",
        "temporal",
        skips=_NO_ACTOR,
    ),
    Contender("langgraph", "LangGraph + SQLite, sync", "langgraph_sqlite", "caller", skips=_PLAIN),
    Contender("dbos-openai-agents", "openai-agents on DBOS + SQLite", "dbos_openai_agents", "itself", skips=_PLAIN),
    Contender("dbos-pydantic-ai", "pydantic-ai on DBOS + SQLite", "dbos_pydantic_ai", "itself", skips=_PLAIN),
)


@dataclass(frozen=True)
class Workload:
    """One thing that is measured."""

    name: str
    title: str
    limit_s: float
    """The longest one measurement may take; what is not done then is reported as such."""

    count: int = 1
    quick: int = 1
    """How many turns, conversations or schedules; and how many with --quick."""

    at_once: int = 0
    delay_s: float = 0.0
    """Latency of the model."""


WORKLOADS = (
    Workload("turns", "one conversation that keeps its history", 240, 200, 20),
    Workload("crowd", "200 conversations, 50 at a time", 60, 200, 40, at_once=50),
    Workload("burst", "500 conversations at once, a model that takes 1 s", 90, 500, 50, delay_s=1.0),
    Workload("crash", "the program killed in the second completion, and started again", 150),
    Workload("actor", "only the process that holds the conversation killed", 60),
    Workload("cold", "hello world, from its start to its answer", 60),
    Workload("schedules", "schedules spread over a minute", 150, 1000, 20),
)


def named(names: str, known: tuple[Contender, ...] | tuple[Workload, ...]) -> list[str]:
    """Names of a comma-separated list, checked; all of them if it is empty."""
    every = [each.name for each in known]
    chosen = [name for name in names.split(",") if name] or every
    unknown = [name for name in chosen if name not in every]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}. Known: {', '.join(every)}")
    return [name for name in every if name in chosen]
