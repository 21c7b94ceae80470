"""What a worker offers, checked before any of it is known to anybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.checks import check_list, shown
from rojak_ray.errors import InvalidSetting
from rojak_ray.retrievers.base import RetrieverActivities
from rojak_ray.sessions.providers import Activities, check_activities


def read_worker(
    agent_activities: object, retriever_activities: object, functions: object
) -> tuple[list[Activities], list[Callable[..., Any]]]:
    """The providers and retrievers of a worker, and all the functions it brings.

    Args:
        agent_activities: Providers, with functions in their options.
        retriever_activities: Retrievers.
        functions: More functions.

    Raises:
        InvalidSetting: One is of another kind; the text says which, and where it belongs.
    """
    activities = [
        *_read_activities(agent_activities, "agent_activities", AgentActivities),
        *_read_activities(retriever_activities, "retriever_activities", RetrieverActivities),
    ]
    every: list[Callable[..., Any]] = []
    for one in activities:
        options: Any = getattr(one, "options", None)
        brought: Any = getattr(options, "all_functions", None)
        if isinstance(one, AgentActivities) and brought is not None:
            every += _read_functions(brought, f"all_functions of {type(one).__name__}")
    return activities, [*every, *_read_functions(functions, "functions")]


def _read_activities(given: object, name: str, kind: type[Activities]) -> list[Activities]:
    return [
        check_activities(one, f"{name}[{index}] of create_worker")
        for index, one in enumerate(check_list(given, name, InvalidSetting, f"{kind.__name__} (instances)"))
    ]


def _read_functions(given: object, name: str) -> list[Callable[..., Any]]:
    found = check_list(given, name, InvalidSetting, "functions")
    for index, function in enumerate(found):
        if not callable(function):
            hint = " The function itself is asked for, not its name." if isinstance(function, str) else ""
            raise InvalidSetting(f"{name}[{index}] is {shown(function)}, which is not callable.{hint}")
    return found
