"""Secrets in agents: refused where agents are stored, and not shown where older versions stored some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rojak_ray.agents.agent import Agent, Retriever
from rojak_ray.errors import InvalidAgent
from rojak_ray.redaction import first_secret, without_secrets

_PROVIDERS = {"openai": "OpenAIAgent", "anthropic": "AnthropicAgent"}
_FREE_FIELDS = ("inference_config", "extra", "retriever")
"""What users put any data into."""

_LONGEST_FIELD = 100


def refuse_secrets(agent: Agent, config: Any, extra: Mapping[str, Any]) -> None:
    """Agents are stored, and whoever sees a conversation sees them: what signs requests belongs to providers.

    Raises:
        InvalidAgent: The text names the field, never its value, and where it belongs.
    """
    place = first_secret(config)
    if place is not None:
        options = _PROVIDERS.get(agent.type, "YourAgent")
        raise InvalidAgent(
            f"Agent {agent.name!r} has what looks like a secret in inference_config: {_field(place)}. Agents are "
            "stored, so keys, headers and queries that sign requests are not for them. Give it to the provider: "
            f"create_worker(agent_activities=[{options}Activities({options}Options(inference_config=...))]). Headers "
            "that prove nothing, such as anthropic-beta, may stay."
        )
    given: Any = agent.retriever
    retrievers: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    looked_up = [{**vars(one), "type": ""} for one in retrievers if isinstance(one, Retriever)]
    for what, fields_given in (("", extra), *((" retriever", one) for one in looked_up)):
        place = first_secret(fields_given)
        if place is not None:
            raise InvalidAgent(
                f"Agent {agent.name!r} has what looks like a secret in the{what} field {_field(place)}. Agents are "
                "stored: give it to the activities that answer for this type, where they are made."
            )


def _field(place: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in place)[:_LONGEST_FIELD]


def agents_to_show(data: Any) -> Any:
    """JSON data in which the agents' secrets are replaced: versions before format 3 let agents have some."""
    if isinstance(data, list):
        return [agents_to_show(item) for item in cast("list[Any]", data)]
    if not isinstance(data, dict):
        return data
    fields_of = cast("dict[str, Any]", data)
    if not {"model", "inference_config", "extra"} <= fields_of.keys():
        return {name: agents_to_show(item) for name, item in fields_of.items()}
    shown = {name: without_secrets(fields_of[name]) for name in _FREE_FIELDS if name in fields_of}
    return {**fields_of, **shown}
