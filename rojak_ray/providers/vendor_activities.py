"""Activities that answer through a vendor's endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Self

from rojak_ray.agents.activities import AgentActivities
from rojak_ray.providers.connection import Vendor
from rojak_ray.providers.endpoint import Endpoint
from rojak_ray.providers.options import EndpointOptions


class VendorActivities(AgentActivities):
    """Activities that answer through an endpoint. An instance may serve another agent type than its class."""

    vendor: ClassVar[Vendor]
    options_class: ClassVar[type[EndpointOptions]]

    def __init__(self, options: EndpointOptions | None = None, *, type: str | None = None) -> None:
        """Keep the options (None: those of the environment) and the agent type to answer for (None: the class's).

        Raises:
            TypeError: The options are another provider's.
        """
        if options is not None and not isinstance(options, self.options_class):
            raise TypeError(f"{self.__class__.__name__} takes {self.options_class.__name__}, not {options!r}.")
        options = options if options is not None else self.options_class()
        super().__init__(options)
        self._endpoint = Endpoint(self.vendor, options)
        if type is not None:
            # A class variable to the type checker; several endpoints of one vendor differ by this instance attribute.
            vars(self)["type"] = type

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self | None:
        """Activities with the key and address that `environ` holds, to ship elsewhere; None if there is no key."""
        options = cls.options_class.from_environment(environ)
        return cls(options) if options.api_key is not None else None

    async def make_ready(self) -> None:
        """See `AgentActivities.make_ready`: load the SDK, so that a first call does not wait for it.

        Example:
            provider = OpenAIAgentActivities(OpenAIAgentOptions(api_key="sk-a-key"))
            await provider.make_ready()
        """
        await self._endpoint.make_ready()

    def slot(self) -> AbstractAsyncContextManager[None]:
        """See `AgentActivities.slot`: bound by `max_concurrency` and by what this process may hold open."""
        return self._endpoint.slot()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._endpoint.aclose()

    def __repr__(self) -> str:
        """Type and options, without secrets."""
        return f"{self.__class__.__name__}(type={self.type!r}, options={self.options!r})"
