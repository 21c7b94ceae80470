"""Every error a caller of rojak_ray can meet.

RojakError                      `.retryable`: whether the same call may succeed later
├─ ConfigError                  fix the code or the settings, then start again
│   ├─ DuplicateName            two different functions under one name
│   ├─ MissingExtra             a provider's package is not installed
│   ├─ MissingKey               no API key was found
│   ├─ InvalidStorage           the storage URL is not one we can use
│   ├─ InvalidSetting           a setting of a client, worker, function or retry is not among the choices
│   └─ RayUnavailable           Ray could not be started or joined
├─ RequestError                 this request is wrong; nothing was stored
│   ├─ InvalidMessage (ValueError)
│   ├─ InvalidId (ValueError)
│   ├─ InvalidAgent (ValueError)
│   ├─ InvalidContext (ValueError)
│   ├─ InvalidLimit (ValueError)
│   ├─ InvalidSchedule (ValueError)
│   ├─ InvalidArgument (ValueError)
│   ├─ SessionNotFound (ValueError, LookupError)
│   ├─ RunNotFound (ValueError, LookupError)
│   ├─ ScheduleNotFound (ValueError, LookupError)
│   ├─ RequestConflict          same id, different content
│   │   ├─ ScheduleExists       a schedule of this id is there already
│   │   └─ ScheduleChanged      somebody else changed it since it was looked at
│   ├─ SessionSetAside          it kept ending its process; a person has to look and resume it
│   ├─ CallNotWaiting (LookupError)  no such call waits for an answer: not yet, or not any more
│   └─ ResultNotKept (LookupError)  the whole result of a call is not stored
├─ RunError                     the run ended without an answer
│   ├─ RunFailed                a step failed for good; the vendor's words are in the text
│   ├─ RunCancelled             somebody cancelled it
│   └─ RunTimedOut
├─ StepError                    one outside call failed
│   ├─ ModelUnavailable         retryable: connection, timeout, 408, 409, 429, 5xx
│   ├─ ModelRejected            the vendor refused the request; the same request fails again
│   ├─ ModelMisbehaved          the reply broke the vendor's own contract (retryable)
│   │   └─ ModelCutShort        a limit or filter cut a function call (not retryable: it would be cut again)
│   ├─ RetrieverUnavailable     retryable: the retriever's database or embedder does not answer
│   ├─ RetrieverRejected        its database or embedder refused; the text says what to correct
│   └─ CodeNotFound
│       ├─ ProviderNotFound     nobody serves this agent type
│       └─ FunctionNotFound     nobody has registered this function
├─ StorageError
│   ├─ StoreUnavailable         retryable; whether a write landed is unknown
│   │   └─ StandsBy             another cluster works on this storage; nothing was done here
│   ├─ StoreRefused             retryable once a person has acted: permission, disk full, read-only
│   ├─ ObjectExists             put-if-absent found the key taken
│   ├─ ObjectNotFound           nothing under this key
│   ├─ Fenced                   a newer owner exists; stop, never retry
│   ├─ JournalDamaged           a stored object is missing, broken or of another owner
│   └─ SchemaTooNew             written by a newer version of rojak_ray
└─ InternalError                our bug; please report it

One positional message, all context keyword-only with defaults: such errors pickle without any help, also inside the
dual class Ray builds around a cause. The text of a message is not API; the class and the attributes are.
"""

from __future__ import annotations


class RojakError(Exception):
    """Base of every error rojak_ray raises on purpose."""

    retryable: bool = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The text without the class name."""
        return str(self.args[0]) if self.args else ""


class ConfigError(RojakError):
    """The program or its settings are wrong."""


class DuplicateName(ConfigError, ValueError):
    """Two different functions share one name within an agent or a worker."""


class MissingExtra(ConfigError, ImportError):
    """A package that a provider or a store needs is not installed."""


class MissingKey(ConfigError, ValueError):
    """No API key was given and the environment holds none."""


class InvalidStorage(ConfigError, ValueError):
    """The storage URL cannot be used."""


class InvalidSetting(ConfigError, ValueError):
    """A setting of a client, a worker, a function or of retries is not among the choices; the text names it."""


class RayUnavailable(ConfigError, RuntimeError):
    """Ray could not be started or joined."""


class RequestError(RojakError):
    """The request is wrong. Nothing was stored, nothing ran."""


class InvalidMessage(RequestError, ValueError):
    """A message is empty, has an unknown role, or is not safe to store as JSON."""


class InvalidId(RequestError, ValueError):
    """An id has a form that cannot name a run, session or schedule."""


class InvalidAgent(RequestError, ValueError):
    """An agent's fields do not describe an agent that can run."""


class InvalidContext(RequestError, ValueError):
    """Context variables are not plain JSON data."""


class InvalidLimit(RequestError, ValueError):
    """A limit is negative or no number."""


class InvalidSchedule(RequestError, ValueError):
    """A field of a schedule cannot be followed; the text names it."""


class InvalidArgument(RequestError, ValueError):
    """An argument is of another kind than is asked for; the text names it and says what to write."""


class SessionNotFound(RequestError, ValueError, LookupError):
    """No session has this id."""


class RunNotFound(RequestError, ValueError, LookupError):
    """No run has this id."""


class ScheduleNotFound(RequestError, ValueError, LookupError):
    """No schedule has this id."""


class RequestConflict(RequestError, ValueError):
    """The id is taken by a request with different content."""


class ScheduleExists(RequestConflict):
    """A schedule of this id is there already; get, update or delete it."""


class ScheduleChanged(RequestConflict):
    """Somebody else changed the schedule since it was looked at; look again."""


class SessionSetAside(RequestError):
    """A conversation kept ending the processes that held it, so nothing of it is run until somebody resumes it."""


class CallNotWaiting(RequestError, LookupError):
    """No call of this id waits for an answer. `reason` says why.

    "answered": it has its result; the first answer counts. "expired": its time is over. "run_ended": its run ended
    without it. "not_yet": its function has not returned. "ambiguous": the id is the vendor's, and it gave it to more
    than one call. "unknown": no such call is remembered.
    """

    def __init__(self, message: str = "", *, reason: str = "unknown") -> None:
        super().__init__(message)
        self.reason = reason


class ResultNotKept(RequestError, LookupError):
    """There is no whole result of this call beside the conversation; the text says why."""


class RunError(RojakError):
    """The run ended without an answer. `run_id` and `error_type` say which and why.

    `finish_reason` is "max_model_calls" where that bound ended it, and how the last answer ended where that was why
    it could not be used ("length", "content_filter", ...); else empty.
    """

    def __init__(self, message: str = "", *, run_id: str = "", error_type: str = "", finish_reason: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id
        self.error_type = error_type
        self.finish_reason = finish_reason


class RunFailed(RunError):
    """A step of the run failed for good."""


class RunCancelled(RunError):
    """The run was cancelled before it had an answer."""


class RunTimedOut(RunError):
    """The run ran out of its time."""


class StepError(RojakError):
    """One call to the outside failed."""


class ModelUnavailable(StepError):
    """The model could not be reached or asked us to come back later.

    `retry_after_s` is the vendor's Retry-After in seconds, if it sent one; `status` its HTTP status, if any.
    """

    retryable = True

    def __init__(self, message: str = "", *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ModelRejected(StepError):
    """The vendor refused the request; repeating it cannot help."""

    def __init__(self, message: str = "", *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ModelMisbehaved(StepError):
    """The reply was cut short or is not what the vendor's protocol promises."""

    retryable = True


class ModelCutShort(ModelMisbehaved):
    """An answer ended before its function calls were complete, so that none of them can be run.

    Asking again without a change would be cut again: raise the token limit, or ask for less. `finish_reason` says what
    cut it.
    """

    retryable = False

    def __init__(self, message: str = "", *, finish_reason: str = "length") -> None:
        super().__init__(message)
        self.finish_reason = finish_reason


class RetrieverUnavailable(StepError):
    """A retriever's database or embedder could not be reached or asked us to come back later.

    `retry_after_s` is its Retry-After in seconds, if it sent one.
    """

    retryable = True

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RetrieverRejected(StepError):
    """A retriever's database or embedder cannot answer as it is asked; repeating it cannot help."""


class CodeNotFound(StepError):
    """Base of what is missing where a step is to run. `missing` names it, if it may still come from a worker."""

    def __init__(self, message: str = "", *, missing: str = "") -> None:
        super().__init__(message)
        self.missing = missing


class ProviderNotFound(CodeNotFound):
    """No worker serves this agent (or retriever) type."""


class FunctionNotFound(CodeNotFound):
    """The function is not registered, or not one of the agent's."""


class StorageError(RojakError):
    """Storage did not do what was asked. `key` names the object, if one was meant."""

    def __init__(self, message: str = "", *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class StoreUnavailable(StorageError):
    """The store did not answer. A write may or may not have landed: read it back."""

    retryable = True


class StandsBy(StoreUnavailable):
    """Another cluster works on this storage and namespace, and this one stands by. Nothing was done here.

    `ruler` says which one, where and since when.
    """

    def __init__(self, message: str = "", *, key: str = "", ruler: str = "") -> None:
        super().__init__(message, key=key)
        self.ruler = ruler


class StoreRefused(StorageError):
    """The store answers but refuses: permission, disk full, read-only. Repeating helps once a person has acted."""

    retryable = True


class ObjectExists(StorageError):
    """The key is taken; nothing was written."""


class ObjectNotFound(StorageError, LookupError):
    """Nothing is stored under the key."""


class Fenced(StorageError):
    """Another writer claimed a newer epoch. This one must stop."""


class JournalDamaged(StorageError):
    """A stored object is missing, truncated, altered or belongs elsewhere."""


class SchemaTooNew(StorageError):
    """The object was written by a newer version of rojak_ray."""


class InternalError(RojakError):
    """A bug of ours. Please report it with the text."""
