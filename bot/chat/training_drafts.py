"""Photos that wait for their member's yes: clean pictures on disk, for 15 minutes, a member's latest only.

`<data>/drafts/<member>/<form>/` with `0.png` … and `draft.json`. They outlive a restart, as the buttons do; no backup
has them, since no row names them.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from training.order import Depicts, Method

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from bot.chat.waiting import Sleep, Wait

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 15 * 60.0
TIDY_SECONDS: Final = 60.0
FORMS_AT_ONCE: Final = 2
"""Whose photos are in memory at the same time."""
_DRAFT: Final = "draft.json"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A training that its member has still to say yes to."""

    form: int
    """Id of the interaction that brought the photos: a training of it is made once."""
    member_id: int
    method: Method
    name: str
    class_word: str
    depicts: Depicts
    consent: str
    photos: list[str] = []
    """Names of files in its folder."""


class Drafts:
    """Blocking work is done in a thread. `folder` is absolute and need not exist."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now
        self._looking: set[int] = set()
        self._changing = threading.Lock()
        """A member's empty folder is removed by one thread while another one makes the next form's in it."""
        self._opened = asyncio.Event()
        self.turn = asyncio.Semaphore(FORMS_AT_ONCE)
        """Held while photos are in memory."""

    @contextmanager
    def looking_at(self, member_id: int) -> Generator[bool]:
        """One form of a member at a time; False: there is another one."""
        if member_id in self._looking:
            yield False
            return
        self._looking.add(member_id)
        try:
            yield True
        finally:
            self._looking.discard(member_id)

    async def open(self, member_id: int, form: int) -> Path:
        """An empty folder for the photos of a form; what waited of this member goes. Raises OSError."""
        self._opened.set()
        return await asyncio.to_thread(self._open, member_id, form)

    def _open(self, member_id: int, form: int) -> Path:
        folder = self._of(member_id) / str(form)
        with self._changing:
            shutil.rmtree(self._of(member_id), ignore_errors=True)
            folder.mkdir(parents=True)
        return folder

    async def keep(self, draft: Draft) -> None:
        """Its photos are in the folder of `open`, and wait there from now on. Raises OSError."""
        await asyncio.to_thread(self._keep, draft)

    def _keep(self, draft: Draft) -> None:
        path = self._of(draft.member_id) / str(draft.form) / _DRAFT
        begun = path.with_suffix(".part")
        begun.write_bytes(msgspec.json.encode(draft))
        begun.replace(path)

    async def read(self, member_id: int, form: int) -> tuple[Draft, list[bytes]] | None:
        """With its photos. None: it is not kept any more."""
        return await asyncio.to_thread(self._read, member_id, form)

    def _read(self, member_id: int, form: int) -> tuple[Draft, list[bytes]] | None:
        folder = self._of(member_id) / str(form)
        try:
            if self._is_old(folder):
                return None
            draft = msgspec.json.decode((folder / _DRAFT).read_bytes(), type=Draft)
            return draft, [(folder / Path(name).name).read_bytes() for name in draft.photos]
        except (OSError, msgspec.MsgspecError):
            return None

    async def drop(self, member_id: int, form: int) -> None:
        """A form's photos; those of a later one stay."""
        await asyncio.to_thread(shutil.rmtree, self._of(member_id) / str(form), ignore_errors=True)

    # ── nothing stays for long ──

    async def tidy(self, wait: Wait, sleep: Sleep) -> None:
        """For ever: what is too old goes."""
        while True:
            self._opened.clear()
            if await asyncio.to_thread(self.expire):
                await sleep(TIDY_SECONDS)
            else:
                await wait(self._opened.wait(), reason="photos that may have to go")

    def expire(self) -> bool:
        """Whether something is left. Blocking."""
        with self._changing:
            return self._expire()

    def _expire(self) -> bool:
        try:
            for folder in self._folder.glob("*/*"):
                if self._is_old(folder):
                    shutil.rmtree(folder)
            for member in self._folder.glob("*"):
                if not any(member.iterdir()):
                    member.rmdir()
            return any(self._folder.glob("*"))
        except FileNotFoundError:  # its member said yes or no at this very moment
            return True
        except OSError as error:
            log.warning("old photos can't be removed yet: %s", error.strerror)
            return True

    def _is_old(self, folder: Path) -> bool:
        """Raises OSError."""
        return self._now() - folder.stat().st_mtime > KEPT_SECONDS

    def _of(self, member_id: int) -> Path:
        return self._folder / str(member_id)
