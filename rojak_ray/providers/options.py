"""What a vendor's endpoint needs to be reached: key, address, client, defaults of the request body.

Options are shipped to other processes and printed in logs, so they never show a key, and a client in them travels as
the recipe to make it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from rojak_ray.agents.activities import AgentOptions
from rojak_ray.agents.request_fields import fault_in_config
from rojak_ray.errors import ConfigError
from rojak_ray.providers.recipe import ClientRecipe, recipe_of
from rojak_ray.redaction import url_to_show


@dataclass(repr=False)
class EndpointOptions(AgentOptions):
    """What the options of every vendor with an SDK have."""

    api_key: str | None = None
    """Wins over the client's and the environment's."""

    client: Any | None = None
    """A client of the vendor's SDK, synchronous or not; an asynchronous one is used as it is within its process.

    In another process a client with the same settings is made; a custom `http_client` stays behind.
    """

    base_url: str | None = None
    """As the vendor's SDK takes it."""

    inference_config: dict[str, Any] | None = None
    """Fields of every request body; an agent's own config overrides them key by key, and None takes a key out.

    `extra_body`, `extra_headers` and `extra_query` mean what they mean to the SDK.
    """

    max_concurrency: int | None = None
    """Calls that one process may have under way to this provider; the others wait their turn. None: as many as the
    process may hold connections for, all providers together."""

    key_variable: ClassVar[str] = ""
    url_variable: ClassVar[str] = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` holds, as options to ship to a process with another environment."""
        return cls().completed(environ)

    def completed(self, environ: Mapping[str, str]) -> Self:
        """These options with what they leave open taken from `environ`; a client is complete by itself."""
        if self.client is not None:
            return self
        return replace(
            self,
            api_key=_stripped(self.api_key) or _stripped(environ.get(self.key_variable)),
            base_url=_stripped(self.base_url) or _stripped(environ.get(self.url_variable)),
        )

    def __post_init__(self) -> None:
        """Refuse a bound that lets nothing through, and what would break every request."""
        most = self.max_concurrency
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ConfigError(f"max_concurrency must be a whole number from 1 on, or None for no bound; not {most!r}.")
        if (fault := fault_in_config(self.inference_config)) is not None:
            raise ConfigError(f"{type(self).__name__}: {fault}")

    def __getstate__(self) -> dict[str, Any]:
        """What travels: an SDK client holds sockets and locks, its recipe does not."""
        state = dict(self.__dict__)
        if self.client is not None and not isinstance(self.client, ClientRecipe):
            state["client"] = recipe_of(self.client)
        return state

    def __repr__(self) -> str:
        """The options without secrets: header values and URLs may hold some as well as the key."""
        url = url_to_show(self.base_url) if self.base_url is not None else None
        key = "'***'" if self.api_key else None
        client = type(self.client).__name__ if self.client is not None else None
        config = sorted(self.inference_config) if self.inference_config is not None else None
        functions = [getattr(function, "__name__", "?") for function in self.all_functions]
        return (
            f"{type(self).__name__}(api_key={key}, client={client}, base_url={url!r}, "
            f"inference_config={config}, all_functions={functions})"
        )


def _stripped(value: str | None) -> str | None:
    """Keys read from files often end in a line break, which no header can carry."""
    return value.strip() or None if value is not None else None
