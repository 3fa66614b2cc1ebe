"""What is to be done between two forwards: requests to prepare, pictures to decode, in the order they came."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from generation.drawing import Drawing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from generation.concepts.store import ConceptStore, Ticket
    from generation.picture import Picture

    Unit = Drawing | Picture

_WAIT_SECONDS: Final = 0.01
"""At a time, for concepts that are being read, where there is nothing else to do."""


class Between:
    """Requests wait here until their concepts are read and have a place."""

    def __init__(self, concepts: ConceptStore) -> None:
        self._concepts = concepts
        self._units: deque[Unit] = deque()
        self._tickets: dict[str, Ticket] = {}
        self._errors: dict[str, Exception] = {}

    def __bool__(self) -> bool:
        return bool(self._units)

    @property
    def requests_wait(self) -> bool:
        """Is there a request that is not prepared yet?"""
        return any(isinstance(unit, Drawing) for unit in self._units)

    def admit(self, drawing: Drawing) -> None:
        """A new request; its concepts begin to be read."""
        if drawing.request.concepts:
            self._tickets[drawing.request_id] = self._concepts.begin(drawing.request.concepts)
        self._units.append(drawing)

    def go_on(self, drawing: Drawing) -> None:
        """A request that is prepared in several goes: it is next."""
        self._units.appendleft(drawing)

    def decode(self, pictures: Iterable[Picture]) -> None:
        """Pictures that are denoised."""
        self._units.extend(pictures)

    def drop(self, request_id: str) -> None:
        """Forget what there is of a request."""
        self._units = deque(unit for unit in self._units if unit.request_id != request_id)
        self._errors.pop(request_id, None)
        ticket = self._tickets.pop(request_id, None)
        if ticket is not None:
            self._concepts.abandon(ticket)

    def next(self, *, denoising: bool) -> Unit | None:
        """What can be done first; while nobody is `denoising`, to prepare goes before to decode."""
        ready = self._ready()
        if not ready:
            return None
        to_prepare = (unit for unit in ready if isinstance(unit, Drawing))
        unit = ready[0] if denoising else next(to_prepare, ready[0])
        self._units.remove(unit)
        return unit

    def wait(self) -> None:
        """Until something is read, but not for long."""
        if self._units:
            self._concepts.wait(_WAIT_SECONDS)

    def place_concepts(self, drawing: Drawing) -> None:
        """The request is being prepared.

        Raises:
            Exception: what went wrong with its concepts, `ConceptRefused` above all.
        """
        ticket, error = self._tickets.pop(drawing.request_id, None), self._errors.pop(drawing.request_id, None)
        if ticket is not None and error is not None:
            self._concepts.abandon(ticket)
            raise error

    def _ready(self) -> list[Unit]:
        ready: list[Unit] = []
        short: set[bool] = set()
        for unit in self._units:
            ticket = self._tickets.get(unit.request_id) if isinstance(unit, Drawing) else None
            if isinstance(unit, Drawing) and ticket is not None:
                # Nobody overtakes a request that waits for slots, or for a lane: it would wait for ever.
                if ticket.needs_lane in short or not ticket.ready():
                    continue
                if not self._take_concepts(unit, ticket):
                    short.add(ticket.needs_lane)
                    continue
            ready.append(unit)
        return ready

    def _take_concepts(self, drawing: Drawing, ticket: Ticket) -> bool:
        """False where it has to wait. What goes wrong is kept for `place_concepts`."""
        if drawing.placement is None and drawing.request_id not in self._errors:
            try:
                drawing.placement = self._concepts.acquire(ticket)
            except Exception as error:  # noqa: BLE001 (it strikes this request, when that is prepared)
                self._errors[drawing.request_id] = error
                return True
        return drawing.placement is not None or drawing.request_id in self._errors
