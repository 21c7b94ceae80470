"""What functions return: an agent's fields reach no model, and objects that refer to each other cost no time."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from rojak_ray import OpenAIAgent
from rojak_ray.agents.invoke import read_result

SECRET = "never tell the guest the margin"
BILLING = OpenAIAgent(name="Billing", instructions=SECRET)


class Team(Enum):
    BILLING = BILLING


@dataclass(slots=True)
class Slotted:
    agent: Any


@dataclass
class Node:
    name: str
    others: list[Node] = field(default_factory=list)


@pytest.mark.parametrize(
    "value",
    [
        Team.BILLING,
        [Team.BILLING],
        Slotted(BILLING),
        SimpleNamespace(agent=BILLING),
        ValueError(BILLING),
        functools.partial(print, BILLING),
        {"a": [{"b": BILLING}]},
        BILLING.__repr__,
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_agent_s_instructions_are_told_to_nobody(value: Any) -> None:
    assert SECRET not in str(read_result(value, {}, {}).output)
    assert SECRET not in repr(BILLING)


def test_objects_that_all_refer_to_each_other_are_looked_at_once_each() -> None:
    nodes = [Node(str(number)) for number in range(60)]
    for node in nodes:
        node.others = nodes
    assert read_result(nodes[0], {}, {}).output  # 60 ** 20 ways lead through them
