"""The plug-in side of a retriever type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class RetrieverActivities(ABC):
    """Answers for one retriever type. Only `retrieve_and_combine_results` must be written.

    Instances are shipped to the processes that run steps, so they hold settings and make clients on first use.
    """

    type: ClassVar[str] = ""
    """The retriever type this answers for."""

    timeout_s: float = 10.0
    """Seconds one retrieval may take. A run waits that long for what it can do without; the agent's limit holds too."""

    exclusive: bool = False
    """Whether only one process may use it, such as the owner of a locked file. On Ray that is the `RetrieverActor`."""

    def __init__(self, options: Any = None) -> None:
        """Keep the options."""
        self.options = options

    @abstractmethod
    async def retrieve_and_combine_results(self, text: str) -> str:
        """Find what belongs to `text` and return it as one text; an empty one if there is nothing.

        What is raised is logged and recorded, and the run goes on without this retriever. `ConnectionError`,
        `TimeoutError` and `RetrieverUnavailable` count as passing trouble.

        Crash safety:
            May be asked again with the same text; it must not change anything.
        """

    async def aclose(self) -> None:  # noqa: B027  (most retrievers have nothing to close)
        """Release connections."""
