"""What users ask for beside the conversation, as it will really be sent: the one place that rules about requests ask.

An agent's `inference_config` goes over the provider's, key by key, also within the three extras, which are what they
are to the vendors' SDKs: `extra_body` goes over the body that we write, `extra_headers` and `extra_query` beside what
the SDK sends. A key of the config, a header or a part of the query that is None is not sent; in `extra_body` it is
sent as null, as the SDKs do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rojak_ray.agents.choice import released
from rojak_ray.agents.request_fields import EXTRAS, fault_in_config
from rojak_ray.errors import ModelRejected
from rojak_ray.providers.wire import VendorRequest, mapping, merge_config

_CHOICE = ("tool_choice", "parallel_tool_calls")
"""Fields about tools that vendors refuse where there are none."""

_OF_STREAMS = ("stream", "stream_options")
"""Whether an answer is streamed is not the model's configuration."""


@dataclass(frozen=True)
class Asked:
    """The user's fields of one request."""

    fields: Mapping[str, Any]
    """Over which our own go."""

    body: Mapping[str, Any]
    """Which go over our own."""

    headers: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    query: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    streaming: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What is said of `stream_options`; None: that field is not sent."""

    @classmethod
    def of(cls, *configs: Mapping[str, Any] | None, release_choice: bool = False) -> Asked:
        """What configs ask for, later ones winning; with `release_choice` no function is forced.

        Raises:
            ModelRejected: One of them has what would break the request. Agents that are stored now cannot.
        """
        for config in configs:
            if (fault := fault_in_config(config, is_sent=True)) is not None:
                raise ModelRejected(f"The question cannot be asked: {fault}")
        fields = merge_config(*configs)
        body, headers, query = (_merged(name, configs) for name in EXTRAS)
        streaming = [config["stream_options"] for config in configs if config and "stream_options" in config]
        asked = cls(
            fields={name: value for name, value in fields.items() if name not in (*EXTRAS, *_OF_STREAMS)},
            body={name: value for name, value in body.items() if name not in _OF_STREAMS},
            headers=merge_config(headers),
            query=merge_config(query),
            streaming={"stream_options": streaming[-1]} if streaming else {},
        )
        return asked._released() if release_choice else asked

    def get(self, name: str) -> Any:
        """What is sent under a name, if we do not write it ourselves; None if nothing is."""
        return self.body[name] if name in self.body else self.fields.get(name)

    def model(self, own: str) -> str:
        """The model that is really asked, for an agent with a model of its `own`."""
        return self.body.get("model", own)

    @property
    def tools(self) -> list[Any]:
        """Tools of the user's own: they stand beside an agent's functions, wherever in the config they are."""
        return [*(self.fields.get("tools") or ()), *(self.body.get("tools") or ())]

    def without(self, *names: str) -> Asked:
        """The same without some fields, wherever they are."""
        return replace(self, fields=_without(self.fields, names), body=_without(self.body, names))

    def without_field(self, *names: str) -> Asked:
        """The same without some fields of the config itself; those of `extra_body` are sent whatever they are."""
        return replace(self, fields=_without(self.fields, names))

    def request(self, body: Mapping[str, Any]) -> VendorRequest:
        """The request, with our own `body`."""
        tools = [*body.get("tools", ()), *self.tools]
        joined = {**self.fields, **body, **self.body}
        joined = {**joined, "tools": tools} if tools else _without(joined, ("tools", *_CHOICE))
        return VendorRequest(joined, self.headers, self.query, self.streaming)

    def _released(self) -> Asked:
        return replace(self, fields=_released(self.fields), body=_released(self.body))


def _merged(name: str, configs: tuple[Mapping[str, Any] | None, ...]) -> dict[str, Any]:
    given = [config for config in configs if config and name in config]
    return {key: value for config in given for key, value in mapping(config[name]).items()}


def _without(fields: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _released(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields in which no function is forced."""
    if "tool_choice" not in fields:
        return fields
    choice = released(fields["tool_choice"])
    kept = _without(fields, ("tool_choice",))
    return {**kept, "tool_choice": choice} if choice is not None else kept
