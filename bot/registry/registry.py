"""The registry: everything that the bot must not forget, in one folder that one bot holds."""

import asyncio
from pathlib import Path
from typing import Self

from bot.registry.concepts import Concepts
from bot.registry.database import Database
from bot.registry.doomed import Doomed
from bot.registry.guilds import Guilds
from bot.registry.history import History
from bot.registry.jobs import Jobs
from bot.registry.lock import DataFolderLock
from bot.registry.members import Members
from bot.registry.migrate import upgrade
from bot.registry.pictures import Pictures
from bot.registry.removals import Removals
from bot.registry.reports import Reports
from bot.registry.trainings import Trainings

DATABASE = "atelier.db"


class Registry:
    """`async with Registry(folder) as registry: await registry.jobs.get(…)`

    Entering takes the folder, and migrates the database in a thread. Raises DataFolderInUse,
    DataFolderUnusable, DatabaseTooNew, DatabaseDamaged, RegistryTrouble.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lock = DataFolderLock(self.folder)
        self._database = Database(self.folder / DATABASE)
        self.jobs = Jobs(self._database, self.folder)
        self.guilds = Guilds(self._database)
        self.pictures = Pictures(self._database)
        self.history = History(self._database, self.folder)
        self.removals = Removals(self._database)
        self.doomed = Doomed(self._database)
        self.members = Members(self._database)
        self.reports = Reports(self._database)
        self.concepts = Concepts(self._database)
        self.trainings = Trainings(self._database, self.folder)

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._lock.__enter__)
        try:
            await asyncio.to_thread(upgrade, self._database.path)
        except BaseException:
            self._lock.__exit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._database.close()
        self._lock.__exit__()
