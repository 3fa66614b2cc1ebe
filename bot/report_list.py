"""`atelier reports`: what members reported, newest first. Reads only, also while the bot runs."""

import asyncio
import sys

from sqlalchemy.exc import DatabaseError, OperationalError

from bot.chat.wording.job import jump_link
from bot.errors import DatabaseDamaged, NoReports, UserError
from bot.registry.database import Database
from bot.registry.registry import DATABASE
from bot.registry.reports import FORGOTTEN, Report, Reports
from bot.settings import Settings, SettingsError, load_settings


def main_reports(most: int, *, playground: bool) -> int:
    """Prints them; returns the exit code."""
    try:
        settings = load_settings()
        if playground:
            settings = settings.with_changes(data_dir=settings.data_dir / "playground")
        found = asyncio.run(_read(settings, most))
    except (SettingsError, UserError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    print("\n\n".join(map(_said, found)) or "There are no reports.")  # noqa: T201
    return 0


async def _read(settings: Settings, most: int) -> list[Report]:
    path = settings.data_dir / DATABASE
    if not path.is_file():
        raise NoReports(folder=settings.data_dir)
    database = Database(path)
    try:
        return list(await Reports(database).latest(most))
    except OperationalError as error:  # of an earlier version, which had none
        raise NoReports(folder=settings.data_dir) from error
    except DatabaseError as error:
        raise DatabaseDamaged(path=path, reason=error.orig) from error
    finally:
        await database.close()


def _said(report: Report) -> str:
    by = "somebody who was forgotten" if report.reporter_id == FORGOTTEN else f"member {report.reporter_id}"
    about = "an unknown picture" if report.job_id is None else f"job {report.job_id} of member {report.member_id}"
    return "\n".join(
        [
            f"{report.created_at:%Y-%m-%d %H:%M} UTC: {by} about {about}",
            f"  {jump_link(report.guild_id, report.channel_id, report.message_id)}",
            f"  {_printable(report.reason) or '(no reason given)'}",
        ]
    )


def _printable(text: str) -> str:
    """A reporter's words can't command the terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
