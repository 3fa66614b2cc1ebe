"""What members and moderators may decide: wishes, blocks, reports, being forgotten. Without Discord."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from bot.dispatcher import Dispatcher
from bot.job import Job
from bot.registry.jobs import Jobs
from bot.registry.members import Block
from bot.registry.registry import Registry
from bot.registry.removals import Forgotten
from bot.registry.reports import Report
from bot.removal import Removal
from bot.uncancelled import Uncancelled

REASON_LENGTH: Final = 1000
"""Characters that are kept of why somebody is blocked or reported."""


class MemberCare:
    """Every method raises RegistryTrouble where the records can't be used right now."""

    def __init__(
        self,
        registry: Registry,
        dispatcher: Dispatcher,
        removal: Removal,
        clock: Callable[[], datetime],
        uncancelled: Uncancelled,
    ) -> None:
        self._members, self._reports = registry.members, registry.reports
        self._jobs: Jobs = registry.jobs
        self._dispatcher, self._removal = dispatcher, removal
        self._clock, self._uncancelled = clock, uncancelled

    async def ping(self, member_id: int) -> bool:
        """Whether a job that took long ends with a mention of them."""
        return await self._members.ping(member_id)

    async def set_ping(self, member_id: int, wanted: bool) -> None:
        await self._members.set_ping(member_id, wanted, self._clock())

    async def block(self, guild_id: int, member_id: int, *, by: int, reason: str) -> int:
        """From now on they can't ask for anything in that server; returns how many live jobs there were cancelled."""
        return await self._uncancelled.run(
            self._block(Block(guild_id, member_id, by, reason[:REASON_LENGTH], self._clock()))
        )

    async def _block(self, block: Block) -> int:
        await self._members.block(block)
        there = [job for job in await self._jobs.live(block.member_id) if job.guild_id == block.guild_id]
        ended: list[Job | None] = [await self._dispatcher.cancel(job.id) for job in there]
        return sum(job is not None for job in ended)

    async def unblock(self, guild_id: int, member_id: int) -> bool:
        """False where they were not blocked."""
        return await self._members.unblock(guild_id, member_id)

    async def blocked(self, guild_id: int) -> Sequence[Block]:
        """Of one server, newest first."""
        return await self._members.blocked(guild_id)

    async def report(
        self,
        *,
        reporter_id: int,
        guild_id: int | None,
        channel_id: int,
        message_id: int,
        job: Job | None,
        reason: str,
    ) -> Report:
        """Kept for the operator. `job`: what that message shows. Raises TooManyReports."""
        report = Report(
            reporter_id=reporter_id,
            guild_id=guild_id,
            channel_id=channel_id,
            message_id=message_id,
            job_id=None if job is None else job.id,
            member_id=None if job is None else job.member_id,
            reason=reason[:REASON_LENGTH],
            created_at=self._clock(),
        )
        await self._reports.add(report)
        return report

    async def forget(self, member_id: int, *, delete_messages: bool) -> Forgotten:
        """Everything of a member goes; see `Removals.forget`. Raises OSError where a file can't be removed."""
        return await self._uncancelled.run(self._removal.forget(member_id, doom=delete_messages))
