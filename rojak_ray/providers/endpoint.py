"""One vendor's API as one activities instance reaches it: a client per event loop, one question, one answer or error.

The SDK signs, sends and names errors. Bodies are built by us and answers read by us: the SDK's own request transform
takes time that grows with the history, and its answers may be full of None without an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeVar

from pydantic import ValidationError

from rojak_ray.agents.activities import AgentActivities, AgentCallParams, OnDelta
from rojak_ray.clock import SystemClock
from rojak_ray.errors import ModelMisbehaved, ModelRejected, ModelUnavailable, StepError
from rojak_ray.providers.capacity import PROCESS_SLOTS, CallSlots
from rojak_ray.providers.connection import Connection, Vendor
from rojak_ray.providers.failures import causes, redact, status_failure, stream_failure
from rojak_ray.providers.history import Origin
from rojak_ray.providers.options import EndpointOptions
from rojak_ray.providers.wire import UnusableReply, VendorRequest

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)

_EXCERPT = 300
_FIRST_ERROR_STATUS = 400


class Assembly(Protocol):
    """Puts one answer together from the events of a stream."""

    asking: ClassVar[Mapping[str, Any]]
    """What a request for a streamed answer has in its body."""

    @property
    def complete(self) -> bool:
        """Whether the event came that no whole answer lacks."""
        ...

    def add(self, piece: Any) -> str | None:
        """Take an event; the text it adds to the answer, if any."""
        ...

    def reply(self) -> Any:
        """What the vendor would have answered without streaming."""
        ...


@dataclass(eq=False)
class Endpoint:
    """Asks one vendor. It lives as long as its process and is never shared with another: only its settings travel."""

    vendor: Vendor
    options: EndpointOptions
    _connections: dict[asyncio.AbstractEventLoop, Connection] = field(
        default_factory=dict[asyncio.AbstractEventLoop, Connection], init=False, repr=False
    )
    _warned: set[str] = field(default_factory=set[str], init=False, repr=False)

    _slots: dict[asyncio.AbstractEventLoop, CallSlots] = field(
        default_factory=dict[asyncio.AbstractEventLoop, CallSlots], init=False, repr=False
    )

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave connections behind."""
        return type(self), (self.vendor, self.options)

    async def ask(
        self, request: VendorRequest, params: AgentCallParams, read: Callable[[Any], Answer], assembly: Assembly
    ) -> Answer:
        """Post the request once and read the answer; with `params.on_delta` it comes, and is put together, in pieces.

        Raises:
            ModelUnavailable: No answer in time, no connection, or a status that may pass.
            ModelRejected: Any other error status.
            ModelMisbehaved: An answer that is not JSON or that `read` cannot use.
            MissingKey, MissingExtra, ConfigError: The vendor cannot even be asked.
        """
        connection = self._connect()
        if params.on_delta is not None:
            return await self._ask_streaming(connection, request, params, read, assembly)
        text = await self._post(connection, request, params)
        return self._read(connection, text, read)

    async def _ask_streaming(
        self,
        connection: Connection,
        request: VendorRequest,
        params: AgentCallParams,
        read: Callable[[Any], Answer],
        assembly: Assembly,
    ) -> Answer:
        async with self._asking(connection, params) as client:
            stream = await client.post(
                self.vendor.path,
                cast_to=object,
                body={**assembly.asking, **request.body},
                options=_send_options(request, params, connection),
                stream=True,
            )
            async with stream:
                if stream.response.headers.get("content-type", "").startswith("application/json"):
                    # A server that does not stream: its whole answer, as if it had not been asked to.
                    text = (await stream.response.aread()).decode("utf-8", "replace")
                    return self._read(connection, text, read)
                await self._receive(connection, stream, params.on_delta, assembly)
        if not assembly.complete:
            raise ModelMisbehaved(
                f"{self.vendor.name}'s answer was cut short: the stream ended without its last event."
            )
        return self._read(connection, json.dumps(assembly.reply()), read)

    async def _receive(self, connection: Connection, stream: Any, on_delta: OnDelta | None, assembly: Assembly) -> None:
        events = aiter(stream)
        while True:
            try:
                piece = await anext(events)
            except StopAsyncIteration:
                return
            except ValueError as error:
                words = causes(error, connection.secrets)
                raise ModelMisbehaved(f"{self.vendor.name} sent an event that is not JSON: {words}") from None
            text = assembly.add(piece)
            if text and on_delta is not None:
                on_delta(text)

    def _read(self, connection: Connection, text: str, read: Callable[[Any], Answer]) -> Answer:
        try:
            return read(_read_json(text))
        except (UnusableReply, ValidationError) as error:
            reason = str(error) if isinstance(error, UnusableReply) else _first_fault(error)
            began = redact(text, connection.secrets)[:_EXCERPT]
            raise ModelMisbehaved(
                f"{self.vendor.name}'s answer cannot be used: {reason}. It began: {began!r}"
            ) from None

    async def _post(self, connection: Connection, request: VendorRequest, params: AgentCallParams) -> str:
        async with self._asking(connection, params) as client:
            response = await client.post(
                self.vendor.path,
                cast_to=connection.reply_class,
                body=request.body,
                options=_send_options(request, params, connection),
            )
        return response.text

    @asynccontextmanager
    async def _asking(self, connection: Connection, params: AgentCallParams) -> AsyncGenerator[Any, None]:
        """A client for one question, to be answered to its end in time; what goes wrong is an error of ours."""
        sdk_error: type[Exception] = getattr(connection.sdk, self.vendor.error_class)
        try:
            async with asyncio.timeout(params.timeout_s):
                yield connection.client
        except TimeoutError:
            limit = f"within {params.timeout_s:g} s" if params.timeout_s is not None else "in time"
            raise ModelUnavailable(f"{self.vendor.name} did not answer {limit}.") from None
        except sdk_error as error:
            raise self._failure(connection, error) from None
        except connection.http_error as error:  # in mid-stream anthropic's SDK lets it through as it is
            words = causes(error, connection.secrets)
            raise ModelUnavailable(f"{self.vendor.name}'s answer broke off: {words}") from None

    def _failure(self, connection: Connection, error: Any) -> StepError:
        sdk = connection.sdk
        if isinstance(error, sdk.APIStatusError) and error.status_code >= _FIRST_ERROR_STATUS:
            return status_failure(self.vendor.name, error.response, SystemClock().now(), connection.secrets)
        words = causes(error, connection.secrets)
        if isinstance(error, sdk.APITimeoutError):
            return ModelUnavailable(f"{self.vendor.name} did not answer in time: {words}")
        if isinstance(error, sdk.APIConnectionError):
            return ModelUnavailable(f"No answer from {self.vendor.name}: {words}")
        if isinstance(error, sdk.APIError):  # an error event in a stream that began well
            return stream_failure(self.vendor.name, error.body, error.message, connection.secrets)
        return ModelRejected(f"{self.vendor.name}'s SDK refused the request: {words}")

    def origin(self, model: str) -> Origin:
        """Whom a question to `model` goes to; raises what `ask` raises if the vendor cannot even be asked."""
        url = self._connect().client.base_url
        port = f":{url.port}" if url.port else ""
        return Origin(f"{self.vendor.package}/{url.host}{port}", model)

    def warn_once(self, key: str, message: str) -> None:
        """Log a warning the first time this process meets `key`."""
        if key not in self._warned:
            self._warned.add(key)
            _log.warning(message)

    @asynccontextmanager
    async def slot(self) -> AsyncGenerator[None]:
        """A place among the calls of this provider, then among those of the process."""
        most = self.options.max_concurrency
        async with contextlib.AsyncExitStack() as held:
            if most is not None:
                await held.enter_async_context(self._own_slots(most).taken())
            await held.enter_async_context(PROCESS_SLOTS.here().taken())
            yield

    def _own_slots(self, most: int) -> CallSlots:
        loop = asyncio.get_running_loop()
        if loop not in self._slots:
            self._slots = {known: slots for known, slots in self._slots.items() if not known.is_closed()}
            self._slots[loop] = CallSlots(most)
        return self._slots[loop]

    async def aclose(self) -> None:
        """Close the pool of the running loop; the next question opens another. Pools of other loops die with them."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.aclose()

    def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        found = self._connections.get(loop)
        if found is None:
            for closed in [known for known in self._connections if known.is_closed()]:
                del self._connections[closed]
            found = self._connections[loop] = Connection(self.vendor, self.options.completed(os.environ))
        return found


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

    def slot(self) -> AbstractAsyncContextManager[None]:
        """See `AgentActivities.slot`: bound by `max_concurrency` and by what this process may hold open."""
        return self._endpoint.slot()

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._endpoint.aclose()

    def __repr__(self) -> str:
        """Type and options, without secrets."""
        return f"{self.__class__.__name__}(type={self.type!r}, options={self.options!r})"


def _send_options(request: VendorRequest, params: AgentCallParams, connection: Connection) -> dict[str, Any]:
    headers = dict(request.headers)
    if params.idempotency_key:
        headers["Idempotency-Key"] = params.idempotency_key
    options: dict[str, Any] = {"headers": headers, "max_retries": 0}
    if request.query:
        options["params"] = dict(request.query)
    if params.timeout_s is not None and not connection.has_own_timeout:
        # The SDK's timeout is per read: it must not be shorter than the one around the whole call.
        options["timeout"] = params.timeout_s
    return options


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableReply("it is not JSON, or was cut short") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place or 'the body'}: {fault['msg']}"
