"""One vendor's API as one activities instance reaches it: a client per event loop, one question, one answer or error.

The SDK signs, sends and names errors. Bodies are built by us and answers read by us: the SDK's own request transform
takes time that grows with the history, and its answers may be full of None without an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from rojak_ray.agents.activities import AgentCallParams
from rojak_ray.clock import SystemClock
from rojak_ray.errors import ModelCutShort, ModelMisbehaved, ModelRejected, ModelUnavailable, StepError
from rojak_ray.logs import get_logger
from rojak_ray.providers.capacity import PROCESS_SLOTS, CallSlots
from rojak_ray.providers.connection import Connection, Vendor
from rojak_ray.providers.failures import causes, status_failure, stream_failure
from rojak_ray.providers.habits import Habits
from rojak_ray.providers.history import Origin
from rojak_ray.providers.loading import Loader
from rojak_ray.providers.options import EndpointOptions
from rojak_ray.providers.reply import Answer, ReplyReader
from rojak_ray.providers.streaming import (
    Assembly,
    Telling,
    is_stream,
    receive,
    refused_field,
    streaming_body,
    take,
    text_of_body,
    wants_stream,
)
from rojak_ray.providers.wire import VendorRequest
from rojak_ray.redaction import LOG_GUARD, Secrets

_log = get_logger(__name__)

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
    _habits: Habits = field(default_factory=Habits, init=False, repr=False)
    _slots: dict[asyncio.AbstractEventLoop, CallSlots] = field(
        default_factory=dict[asyncio.AbstractEventLoop, CallSlots], init=False, repr=False
    )

    def __post_init__(self) -> None:
        """Connect to nothing yet."""
        self._loader = Loader(self.vendor.package)

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
        stream is left out from then on. Where a stream cannot be read, the whole answer is asked for: by the next
        attempt at this question if some of it was told or the server fell silent; else, or if there is no other
        attempt, at once.

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
        reader = ReplyReader(self.vendor.name, read, assembly)
        key = params.idempotency_key
        if params.on_delta is None or self._habits.takes_no_stream(params.model, key):
            return await self._ask_plainly(connection, question, reader)
        telling = Telling(params.on_delta)
        try:
            return await self._ask_watched(connection, question, reader, telling)
        except ModelCutShort:
            raise
        except asyncio.CancelledError:  # the time for this attempt ended, as far as can be told
            if telling.is_open:
                self._habits.ask_plainly_next(key)
            raise
        except _NoStream as error:
            return await self._ask_plainly_instead(connection, question, reader, error)
        except (ModelMisbehaved, ModelUnavailable) as error:
            is_lost = isinstance(error, ModelUnavailable)
            if is_lost and not telling.is_open:
                raise
            if (telling.has_told or is_lost) and not params.is_last_attempt and (key or is_lost):
                self._habits.ask_plainly_next(key)
                raise
            return await self._ask_plainly_instead(connection, question, reader, error)

    async def _ask_watched(
        self, connection: Connection, question: _Question, reader: ReplyReader[Answer], telling: Telling
    ) -> Answer:
        """Ask for a stream; again without `stream_options`, where the server refuses them."""
        left_out = set(self._habits.refused)
        while True:
            answers = reader.assembly()
            body = streaming_body(question.request, answers.asking, frozenset(left_out))
            try:
                answer = await self._ask_streaming(connection, question, body, reader, answers, telling)
            except (ModelRejected, ModelUnavailable) as error:
                field = refused_field(error, body) if not telling.is_open else None
                if field is None or telling.has_told:
                    raise
                if field == "stream":
                    raise _NoStream from error
                left_out.add(field)
            else:
                self._habits.refused |= left_out
                return answer

    async def _ask_plainly_instead(
        self, connection: Connection, question: _Question, reader: ReplyReader[Answer], error: Exception
    ) -> Answer:
        """Ask for the whole answer after a stream came to nothing.

        Raises:
            StepError: What the server refuses in its answer, for good; the stream's error where it gives none that can
                be used, or does not take plainly what it took as a stream.
        """
        refused = isinstance(error, _NoStream)
        if question.deadline is not None and question.deadline <= asyncio.get_running_loop().time():
            raise error
        try:
            response = await self._post(connection, question)
        except StepError:
            if refused:
                raise
            raise error from None
        try:
            answer = self._read_whole(connection, response, reader)
        except StepError as other:
            if refused or not other.retryable:
                raise
            raise error from None
        if refused:
            self._habits.plain_models.add(question.params.model)
        return answer

    async def _ask_plainly(self, connection: Connection, question: _Question, reader: ReplyReader[Answer]) -> Answer:
        """Ask for the whole answer; for a stream that nobody watches, where the server has nothing else."""
        model = question.params.model
        refusal: Exception | None = None
        if model not in self._habits.streamed_models:
            try:
                return self._read_whole(connection, await self._post(connection, question), reader)
            except (ModelRejected, ModelUnavailable) as error:
                if not wants_stream(error):
                    raise
                refusal = error
        try:
            answer = await self._ask_watched(connection, question, reader, Telling(lambda _: None))
        except _NoStream as error:
            raise refusal or error.__cause__ or error from None
        self._habits.streamed_models.add(model)
        return answer

    def _read_whole(self, connection: Connection, response: Any, reader: ReplyReader[Answer]) -> Answer:
        text, secrets = text_of_body(response.content), connection.sent(_request_of(response))
        if not is_stream(text):
            return reader.whole(text, secrets)
        answers = reader.assembly()  # a server that streams whatever it is asked for
        with reader.receiving(lambda: secrets):
            take(response.content, answers)
        return reader.assembled(answers, secrets)

    async def _ask_streaming(
        self,
        connection: Connection,
        question: _Question,
        body: dict[str, Any],
        reader: ReplyReader[Answer],
        assembly: Assembly,
        telling: Telling,
    ) -> Answer:
        text: str | None = None
        telling.is_open = True
        async with self._asking(connection, question) as client:
            try:
                stream = await client.post(
                    self.vendor.path,
                    cast_to=object,
                    body=body,
                    options=_send_options(question, connection),
                    stream=True,
                )
            except Exception as error:
                telling.is_open = connection.was_lost(error)
                raise

            def secrets() -> Secrets:
                return connection.sent(_request_of(stream.response))

            async with stream:
                try:
                    with reader.receiving(secrets):
                        text = await receive(stream, telling, assembly)
                except connection.http_error:
                    if not assembly.complete:
                        raise
                    # It had its answer: only the connection was not closed as it should be.
                except StepError:
                    telling.is_open = False
                    raise
        telling.is_open = False
        if text is None:
            return reader.assembled(assembly, secrets())
        return reader.whole(text, secrets())

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

    async def make_ready(self) -> None:
        """Load the SDK, without holding up the loop."""
        await self._loader.load()

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
