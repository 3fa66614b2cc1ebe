"""The concepts of the requests in flight: read in the background, put in slots or lanes, kept while there is room.

Only one thread, the one that runs the engine, calls the store. Files are read and networks merged in a thread of its
own, so that the batch goes on meanwhile.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from generation.concepts.file_cache import FileCache
from generation.concepts.files import MAX_SLOT_RANK, ConceptRefused, LoraFile, MergedFile, TextualInversionFile
from generation.concepts.lanes import Lanes
from generation.concepts.slot_table import SlotTable, check_sizes
from generation.concepts.slots import POSITIONS, LoraSlots
from generation.concepts.text import TextConcepts
from generation.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from generation.concepts.file_cache import ConceptFile, Reading
    from generation.concepts.lanes import Lane
    from generation.model import LoadedModel
    from generation.request import ConceptUse

_NO_MEMORY: Final = "There is not enough memory for these concepts; use fewer or smaller ones."

Used = tuple["ConceptUse", "ConceptFile"]


class Ticket:
    """A request's concepts on their way."""

    def __init__(self, uses: Sequence[ConceptUse], readings: Sequence[Reading]) -> None:
        self.uses = tuple(uses)
        self.readings = tuple(readings)
        self.lane: Lane | None = None
        """Taken for it, perhaps still in the making."""
        self.needs_lane = False
        """It can't share the batch; known once it was read and asked for."""
        self.refused: ConceptRefused | None = None
        """Why it is not tried again."""

    def ready(self) -> bool:
        """Is nothing under way in the background that `ConceptStore.acquire` would have to wait for?"""
        read = all(reading.job.done() for reading in self.readings)
        return read and (self.lane is None or self.lane.job.done())


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where a request's concepts act, until it is released."""

    lane: str
    """"" is the shared one; the requests of any other are a batch of their own."""
    unet: Any
    slots: tuple[int, int, int, int]
    """For each row of the request; 0 is none."""
    weights: tuple[float, float, float, float]
    text: TextConcepts
    used: list[tuple[str, float, str]]
    """Name, weight, and the SHA-256 of the file, of each of the request's concepts."""
    merged: Lane | None = None
    """The merged copies that it uses; of the text encoders alone, it is in the shared lane all the same."""


class ConceptStore:
    """Concepts for one model.

    `slots` LoRAs with at most `ranks` ranks in total share the batch, `lanes` merged copies of the networks stand
    beside it, and files of up to `file_bytes` stay in memory as read. What could not be used even by a request that
    is alone is refused. `gathered_bytes`, `reproducible`: see `LoraSlots`.

    To be made in the engine's thread, when what is offloaded has left the card (see `Merging`).
    """

    def __init__(
        self,
        model: LoadedModel,
        *,
        slots: int = 16,
        ranks: int = 1024,
        lanes: int = 1,
        gathered_bytes: int = 1 << 30,
        file_bytes: int = 1 << 30,
        reproducible: bool = False,
    ) -> None:
        check_sizes(slots, ranks, MAX_SLOT_RANK)
        self._model = model
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="concepts")
        self._files = FileCache(model, self._executor, file_bytes)
        self._lanes = Lanes(model, self._executor, lanes)
        self.lora_slots = LoraSlots(model.unet, slots, gathered_bytes=gathered_bytes, reproducible=reproducible)
        self._table = SlotTable(self.lora_slots, ranks)

    def begin(self, uses: Sequence[ConceptUse]) -> Ticket:
        """Start reading a request's concepts."""
        return Ticket(uses, [self._files.read(use.path) for use in uses])

    def acquire(self, ticket: Ticket) -> Placement | None:
        """Put a request's concepts to work. None: not yet (`Ticket.ready`), or others hold too many slots or lanes.

        Up to four LoRAs get slots; with more, or with what is no LoRA of slot size, all of them are merged into a
        copy. Textual inversions, and what has weight 0, need neither.

        Raises:
            ConceptRefused: one sentence; also when asked again.
        """
        if ticket.refused is not None:
            raise ticket.refused
        if not ticket.ready():
            return None
        try:
            return self._place(ticket)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            ticket.refused = ConceptRefused(_NO_MEMORY)
            raise ticket.refused from error

    def abandon(self, ticket: Ticket) -> None:
        """A ticket that nobody will ask about any more."""
        if ticket.lane is not None:
            self._lanes.release(ticket.lane)
            ticket.lane = None

    def release(self, placement: Placement) -> None:
        """The request of this placement has ended."""
        self._table.release([slot for slot in placement.slots if slot])
        if placement.merged is not None:
            self._lanes.release(placement.merged)

    def forget(self, sha256: str) -> None:
        """Let go of a deleted concept: the file as read, its slot, its lanes; what is in use, when it is released.

        A ticket that has not been placed by now is refused.
        """
        self._files.forget(sha256)
        self._table.forget(sha256)
        self._lanes.forget(sha256)

    def forget_files(self, folder: Path) -> None:
        """`forget` what was read from files in `folder`, as far as it is still kept as read."""
        for sha256 in self._files.forget_in(folder):
            self.forget(sha256)

    def route(self, index: Tensor | None, weights: Tensor | None) -> None:
        """See `LoraSlots.route`."""
        self.lora_slots.route(index, weights)

    def wait(self, seconds: float) -> None:
        """Until something in the background is done, but no longer than this; not at all if nothing is under way."""
        pending = [*self._files.pending(), *self._lanes.pending()]
        if pending:
            wait(pending, seconds, FIRST_COMPLETED)

    def close(self) -> None:
        """End the thread; what it has not begun is not done any more."""
        self._executor.shutdown(cancel_futures=True)
        self.lora_slots.route(None, None)

    def _place(self, ticket: Ticket) -> Placement | None:
        used = [(use, reading.job.result()) for use, reading in zip(ticket.uses, ticket.readings, strict=True)]
        for (use, _), reading in zip(used, ticket.readings, strict=True):
            if self._files.is_forgotten(reading):
                self.abandon(ticket)
                raise ConceptRefused(f"<{use.name}> was deleted before its turn came.")
        loras = [(use, file) for use, file in used if isinstance(file, LoraFile) and use.weight]
        in_unet = [(use, file) for use, file in loras if file.in_unet]
        if len(in_unet) > POSITIONS or any(isinstance(file, MergedFile) and use.weight for use, file in used):
            return self._place_merged(ticket, used)
        files = [file for _, file in in_unet]
        if self._table.too_large(files):
            raise ConceptRefused(_NO_MEMORY)
        slots = self._table.take(files)
        if slots is None:
            return None
        text = self._text(used, self._model.text_encoders, loras, "")
        weights = [use.weight for use, _ in in_unet]
        return Placement("", self._model.unet, _four_slots(slots), _four_weights(weights), text, _told(used))

    def _place_merged(self, ticket: Ticket, used: Sequence[Used]) -> Placement | None:
        if not self._lanes.limit:
            raise ConceptRefused(_NO_MEMORY)
        ticket.needs_lane = True
        if ticket.lane is None:
            merging = [
                (file, use.weight) for use, file in used if use.weight and not isinstance(file, TextualInversionFile)
            ]
            ticket.lane = self._lanes.take(merging)
        lane = ticket.lane
        if lane is None or not lane.job.done():
            return None
        try:
            unet, text_encoders = lane.job.result()
        except BaseException:
            self.abandon(ticket)
            raise
        ticket.lane = None
        text = self._text(used, text_encoders, (), lane.key)
        # Where only the text encoders were changed, the UNet is the model's own, and the batch is for all.
        name = "" if unet is self._model.unet else lane.key
        return Placement(name, unet, _four_slots([]), _four_weights([]), text, _told(used), lane)

    def _text(
        self,
        used: Sequence[Used],
        text_encoders: tuple[Any, ...],
        loras: Sequence[tuple[ConceptUse, LoraFile]],
        lane: str,
    ) -> TextConcepts:
        vectors = {use.name: file.vectors for use, file in used if isinstance(file, TextualInversionFile)}
        triggers = {use.name: use.trigger for use, _ in used if use.name not in vectors}
        in_text = [(use.weight, file) for use, file in loras if file.in_text]
        return TextConcepts(
            key=(
                tuple((use.name, file.sha256) for use, file in used if use.name in vectors),
                tuple(triggers.items()),
                tuple((file.sha256, weight) for weight, file in in_text),
                lane,
            ),
            vectors=vectors,
            triggers=triggers,
            text_encoders=text_encoders,
            loras=tuple((weight, file.text_encoders) for weight, file in in_text),
            differences=tuple((weight, file.text_differences) for weight, file in in_text if file.text_differences),
        )


def _told(used: Sequence[Used]) -> list[tuple[str, float, str]]:
    return [(use.name, use.weight, file.sha256) for use, file in used]


def _four_slots(slots: Sequence[int]) -> tuple[int, int, int, int]:
    first, second, third, fourth = [*slots, 0, 0, 0, 0][:POSITIONS]
    return first, second, third, fourth


def _four_weights(weights: Sequence[float]) -> tuple[float, float, float, float]:
    first, second, third, fourth = [*weights, 0.0, 0.0, 0.0, 0.0][:POSITIONS]
    return first, second, third, fourth
