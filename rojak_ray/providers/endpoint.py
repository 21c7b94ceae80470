"""One vendor's API as one activities instance reaches it: a client per event loop, one question, one answer or error.

The SDK signs, sends and names errors. Bodies are built by us and answers read by us: the SDK's own request transform
takes time that grows with the history, and its answers may be full of None without an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ValidationError

from rojak_ray.agents.activities import AgentActivities, AgentCallParams
from rojak_ray.clock import SystemClock
from rojak_ray.errors import ModelCutShort, ModelMisbehaved, ModelRejected, ModelUnavailable, StepError
from rojak_ray.logs import get_logger
from rojak_ray.providers.capacity import PROCESS_SLOTS, CallSlots
from rojak_ray.providers.connection import Connection, Vendor
from rojak_ray.providers.failures import causes, quoted, reply_failure, status_failure, stream_failure
from rojak_ray.providers.history import Origin
from rojak_ray.providers.options import EndpointOptions
from rojak_ray.providers.streaming import Assembly, ErrorEvent, Telling, receive, refused_field, streaming_body
from rojak_ray.providers.wire import CutReply, FailedReply, UnusableReply, VendorRequest
from rojak_ray.redaction import LOG_GUARD, Secrets

Answer = TypeVar("Answer")

_log = get_logger(__name__)

_EXCERPT = 300
_MOST_REMEMBERED = 10_000
_FIRST_ERROR_STATUS = 400


class _NoStream(Exception):
    """The server does not stream this."""


@dataclass(frozen=True)
class _Question:
    """One question as it is asked: plainly, or watched."""

    request: VendorRequest
    params: AgentCallParams
    deadline: float | None
    """On the loop's clock: it holds for everything that is asked in the course of it."""


@dataclass(eq=False)
class Endpoint:
    """Asks one vendor. It lives as long as its process and is never shared with another: only its settings travel."""

    vendor: Vendor
    options: EndpointOptions
    _connections: dict[asyncio.AbstractEventLoop, Connection] = field(
        default_factory=dict[asyncio.AbstractEventLoop, Connection], init=False, repr=False
    )
    _warned: set[str] = field(default_factory=set[str], init=False, repr=False)
    _refused: set[str] = field(default_factory=set[str], init=False, repr=False)
    """Fields of a request for a stream that the server does not take."""

    _plain_models: set[str] = field(default_factory=set[str], init=False, repr=False)
    """Models that the server does not stream."""

    _plain_questions: dict[str, None] = field(default_factory=dict[str, None], init=False, repr=False)
    """Keys of questions whose streams could not be read to their end, the latest last."""

    _slots: dict[asyncio.AbstractEventLoop, CallSlots] = field(
        default_factory=dict[asyncio.AbstractEventLoop, CallSlots], init=False, repr=False
    )

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave connections behind."""
        return type(self), (self.vendor, self.options)

    async def ask(
        self,
        request: VendorRequest,
        params: AgentCallParams,
        read: Callable[[Any], Answer],
        assembly: Callable[[], Assembly],
    ) -> Answer:
        """Ask and read the answer; with `params.on_delta` it comes, and is put together, in pieces.

        Whether somebody watches changes nothing about the answer. What a server refuses of the fields that ask for a
        stream is left out from then on. Where a stream cannot be read, the whole answer is asked for: at once if no
        piece was told, else by the next attempt at this question.

        Raises:
            ModelUnavailable: No answer in time, no connection, or a status that may pass.
            ModelRejected: Any other error status.
            ModelCutShort: A limit or filter cut a function call.
            ModelMisbehaved: An answer that is not JSON or that `read` cannot use.
            MissingKey, MissingExtra, ConfigError: The vendor cannot even be asked.
        """
        connection = self._connect()
        now = asyncio.get_running_loop().time()
        question = _Question(request, params, now + params.timeout_s if params.timeout_s is not None else None)
        key = params.idempotency_key
        if params.on_delta is None or params.model in self._plain_models or key in self._plain_questions:
            return await self._ask_plainly(connection, question, read)
        telling = Telling(params.on_delta)
        try:
            return await self._ask_watched(connection, question, read, assembly, telling)
        except ModelCutShort:
            raise
        except (_NoStream, ModelMisbehaved) as error:
            if telling.is_whole:
                raise
            if telling.has_told:
                self._ask_plainly_next(key)
                raise
            return await self._ask_plainly_instead(connection, question, read, error)

    async def _ask_watched(
        self,
        connection: Connection,
        question: _Question,
        read: Callable[[Any], Answer],
        assembly: Callable[[], Assembly],
        telling: Telling,
    ) -> Answer:
        """Ask for a stream; again without `stream_options`, where the server refuses them."""
        left_out = set(self._refused)
        while True:
            answers = assembly()
            body = streaming_body(question.request, answers.asking, frozenset(left_out))
            try:
                answer = await self._ask_streaming(connection, question, body, read, answers, telling)
            except (ModelRejected, ModelUnavailable) as error:
                field = refused_field(error, body)
                if field is None or telling.has_told:
                    raise
                if field == "stream":
                    raise _NoStream from error
                left_out.add(field)
            else:
                self._refused |= left_out
                return answer

    async def _ask_plainly_instead(
        self, connection: Connection, question: _Question, read: Callable[[Any], Answer], error: Exception
    ) -> Answer:
        """Ask for the whole answer after a stream came to nothing; if that does not work either, the stream's error."""
        try:
            answer = await self._ask_plainly(connection, question, read)
        except StepError as other:
            if isinstance(error, ModelMisbehaved) and not isinstance(other, ModelCutShort):
                raise error from None
            raise
        if isinstance(error, _NoStream):
            self._plain_models.add(question.params.model)
        return answer

    def _ask_plainly_next(self, key: str) -> None:
        """Remember a question whose stream could not be read to its end: its next attempt asks for the whole."""
        if key:
            self._plain_questions[key] = None
            while len(self._plain_questions) > _MOST_REMEMBERED:
                del self._plain_questions[next(iter(self._plain_questions))]

    async def _ask_plainly(self, connection: Connection, question: _Question, read: Callable[[Any], Answer]) -> Answer:
        response = await self._post(connection, question)
        return self._read(connection, response, response.text, read)

    async def _ask_streaming(
        self,
        connection: Connection,
        question: _Question,
        body: dict[str, Any],
        read: Callable[[Any], Answer],
        assembly: Assembly,
        telling: Telling,
    ) -> Answer:
        async with self._asking(connection, question) as client:
            stream = await client.post(
                self.vendor.path,
                cast_to=object,
                body=body,
                options=_send_options(question, connection),
                stream=True,
            )
            async with stream:
                if stream.response.headers.get("content-type", "").startswith("application/json"):
                    # A server that does not stream: its whole answer, as if it had not been asked to.
                    telling.is_whole = True
                    text = (await stream.response.aread()).decode("utf-8", "replace")
                    return self._read(connection, stream.response, text, read)
                await self._receive(connection, stream, telling, assembly)
        if not assembly.complete:
            raise ModelMisbehaved(
                f"{self.vendor.name}'s answer was cut short: the stream ended without its last event."
            )
        return self._read(connection, stream.response, json.dumps(assembly.reply()), read)

    async def _receive(self, connection: Connection, stream: Any, telling: Telling, assembly: Assembly) -> None:
        try:
            await receive(stream, telling, assembly)
        except ErrorEvent as error:
            secrets = connection.sent(_request_of(stream.response))
            raise stream_failure(self.vendor.name, error.body, str(error.body), secrets) from None
        except ValueError as error:
            words = causes(error, connection.sent(_request_of(stream.response)))
            raise ModelMisbehaved(f"{self.vendor.name} sent an event that is not JSON: {words}") from None

    def _read(self, connection: Connection, response: Any, text: str, read: Callable[[Any], Answer]) -> Answer:
        try:
            return read(_read_json(text))
        except (UnusableReply, ValidationError) as error:
            raise self._unusable(error, text, connection.sent(_request_of(response))) from None

    def _unusable(self, error: UnusableReply | ValidationError, text: str, secrets: Secrets) -> StepError:
        """The error for an answer that is none."""
        reason = quoted(str(error) if isinstance(error, UnusableReply) else _first_fault(error), secrets)
        if isinstance(error, FailedReply):
            return reply_failure(self.vendor.name, reason, error.error, secrets)
        words = f"{self.vendor.name}'s answer cannot be used: {reason}."
        if isinstance(error, CutReply):
            words += " Raise the limit, or ask for less: asked again without a change it would be cut again."
            return ModelCutShort(words, finish_reason=error.finish_reason)
        return ModelMisbehaved(f"{words} It began: {quoted(text, secrets, _EXCERPT)!r}")

    async def _post(self, connection: Connection, question: _Question) -> Any:
        async with self._asking(connection, question) as client:
            return await client.post(
                self.vendor.path,
                cast_to=connection.reply_class,
                body=question.request.body,
                options=_send_options(question, connection),
            )

    @asynccontextmanager
    async def _asking(self, connection: Connection, question: _Question) -> AsyncGenerator[Any, None]:
        """A client for one request, to be answered to its end in time; what goes wrong is an error of ours."""
        sdk_error: type[Exception] = getattr(connection.sdk, self.vendor.error_class)
        params = question.params
        signing = question.request.secrets()
        if (connection.secrets | signing) is not connection.secrets:  # an agent's, stored by an older version
            LOG_GUARD.protect(signing)
        try:
            async with asyncio.timeout_at(question.deadline):
                yield connection.client
        except TimeoutError:
            limit = f"within {params.timeout_s:g} s" if params.timeout_s is not None else "in time"
            raise ModelUnavailable(f"{self.vendor.name} did not answer {limit}.") from None
        except sdk_error as error:
            raise self._failure(connection, error) from None
        except connection.http_error as error:  # in mid-stream anthropic's SDK lets it through as it is
            words = causes(error, connection.sent(_request_of(error)))
            raise ModelUnavailable(f"{self.vendor.name}'s answer broke off: {words}") from None
        except (ValueError, connection.url_error) as error:  # such as a header value that no header can carry
            words = causes(error, connection.secrets | signing)
            raise ModelRejected(f"{self.vendor.name} cannot be asked: {words}") from None

    def _failure(self, connection: Connection, error: Any) -> StepError:
        sdk, secrets = connection.sdk, connection.sent(_request_of(error))
        if isinstance(error, sdk.APIStatusError) and error.status_code >= _FIRST_ERROR_STATUS:
            return status_failure(self.vendor.name, error.response, SystemClock().now(), secrets)
        words = causes(error, secrets)
        if isinstance(error, sdk.APITimeoutError):
            return ModelUnavailable(f"{self.vendor.name} did not answer in time: {words}")
        if isinstance(error, sdk.APIConnectionError):
            return ModelUnavailable(f"No answer from {self.vendor.name}: {words}")
        if isinstance(error, sdk.APIError):  # an error event in a stream that began well
            return stream_failure(self.vendor.name, error.body, error.message, secrets)
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


def _send_options(question: _Question, connection: Connection) -> dict[str, Any]:
    request, params = question.request, question.params
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


def _request_of(reply: Any) -> Any | None:
    """The request that an answer or an error is about; httpx raises where there is none."""
    try:
        return getattr(reply, "request", None)
    except RuntimeError:
        return None


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableReply("it is not JSON, or was cut short") from None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place or 'the body'}: {fault['msg']}"
