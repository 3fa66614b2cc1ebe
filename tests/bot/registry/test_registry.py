import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bot.errors import DatabaseDamaged, DataFolderInUse, RegistryBusy
from bot.job import Job, JobImage
from bot.registry.registry import DATABASE, Registry


async def test_what_was_kept_is_there_after_a_restart_and_after_a_move(
    tmp_path: Path, make_job: Callable[..., Job], make_images: Callable[..., list[JobImage]]
) -> None:
    job = make_job()
    async with Registry(tmp_path / "data") as registry:
        await registry.jobs.add(job, images_at_most=9)
        now = job.created_at
        await registry.jobs.claim(job.id, now, now - now)
        await registry.jobs.finish(job.id, 1, make_images(job), now)
    (tmp_path / "data").rename(tmp_path / "moved")
    async with Registry(tmp_path / "moved") as registry:
        (image,) = await registry.jobs.images(job.id)
        assert image.path == tmp_path / "moved" / "images" / job.id / "1-0.png"


async def test_two_on_one_folder(tmp_path: Path) -> None:
    async with Registry(tmp_path):
        with pytest.raises(DataFolderInUse):
            await Registry(tmp_path).__aenter__()
    async with Registry(tmp_path):
        pass


async def test_a_start_that_fails_lets_the_folder_go(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"garbage" * 1000)
    with pytest.raises(DatabaseDamaged):
        await Registry(tmp_path).__aenter__()
    (tmp_path / DATABASE).unlink()
    async with Registry(tmp_path):
        pass


async def test_a_locked_database_at_start_is_one_sentence(tmp_path: Path) -> None:
    async with Registry(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegistryBusy):
            await Registry(tmp_path).__aenter__()
