"""The seam between Studio and whatever draws: a supervised process, or the shipped fake."""

from collections.abc import AsyncIterator
from typing import Protocol

from bot.worker.messages import FromWorker, ToWorker, WorkerLost


class Worker(Protocol):
    """Something that draws. It comes back by itself after a loss: `WorkerLost`, later `Loading` and `Ready`."""

    async def start(self) -> None:
        """Returns at once; `messages()` says when it is ready."""
        ...

    async def stop(self) -> None:
        """Ends it: asks, waits at most five seconds, kills. Then `messages()` ends. Never raises."""
        ...

    async def send(self, message: ToWorker) -> None:
        """Without a living worker the message is dropped: `WorkerLost` has been or will be said."""
        ...

    def messages(self) -> AsyncIterator[FromWorker | WorkerLost]:
        """Everything that it says, in order, for one reader, until `stop()`."""
        ...
