"""A backup is made while somebody writes, is put in the data folder's place, and shows the same pictures."""

import asyncio
import dataclasses
import errno
import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bot import backup
from bot.backup import back_up, main_backup, remove_older
from bot.concepts import NewVersion
from bot.errors import UserError
from bot.job import Job, JobImage, JobState
from bot.registry.registry import DATABASE, Registry
from bot.settings import Settings
from training.order import Depicts, Method

ROOT = Path(__file__).resolve().parents[2]
LEASE = timedelta(minutes=1)
Jobs = Callable[..., Job]
Images = Callable[..., list[JobImage]]


async def drawn(registry: Registry, make_job: Jobs, make_images: Images) -> Job:
    """A finished job with a start image and two pictures on disk."""
    job = make_job(count=2)
    start = f"images/{job.id}/start.png"
    job = make_job(id=job.id, count=2, init_image=start, strength=0.5)
    (registry.folder / start).parent.mkdir(parents=True)
    shade = int(job.id, 36) % 256
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(registry.folder / start)
    images = make_images(job)
    for image in images:
        Image.new("RGB", (16, 16), (shade, image.seed, 0)).save(image.path)
    await registry.jobs.add(job, images_at_most=10**6)
    await registry.jobs.claim(job.id, job.created_at, LEASE)
    await registry.jobs.finish(job.id, 1, images, job.created_at)
    return job


def files_of(job: Job, folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "images" / job.id).iterdir()}


async def atelier_backup(settings: Settings, destination: Path, *more: str) -> tuple[int, str, str]:
    """`atelier backup` in a process of its own, as an operator runs it beside the bot."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ATELIER_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "backup", str(destination), *more),
        cwd=settings.data_dir.parent,
        env={**clean, "PYTHONPATH": str(ROOT), "ATELIER_DATA_DIR": str(settings.data_dir)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def somebody_drawing(registry: Registry, make_job: Jobs, make_images: Images) -> AsyncIterator[list[Job]]:
    made: list[Job] = []

    async def go_on() -> None:
        while True:
            made.append(await drawn(registry, make_job, make_images))

    task = asyncio.create_task(go_on())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_backup_of_a_working_bot_can_be_put_in_its_place(
    registry: Registry, settings: Settings, tmp_path: Path, make_job: Jobs, make_images: Images
) -> None:
    before = [await drawn(registry, make_job, make_images) for _ in range(20)]
    async with somebody_drawing(registry, make_job, make_images) as meanwhile:
        code, out, err = await atelier_backup(settings, tmp_path / "backups" / "here")
        assert meanwhile, "nobody wrote at the same time"
    assert (code, err) == (0, "")
    [made] = (tmp_path / "backups" / "here").iterdir()
    assert made.name.startswith("atelier-2")
    assert str(made) in out
    assert "To restore: stop the bot" in out
    assert str(settings.data_dir) in out
    assert "No longer kept" not in out
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert sorted(path.name for path in made.iterdir()) == [DATABASE, "images"]

    originals = {job.id: files_of(job, settings.data_dir) for job in (*before, *meanwhile)}
    await registry.__aexit__()
    shutil.rmtree(settings.data_dir)
    shutil.copytree(made, settings.data_dir)
    async with Registry(settings.data_dir) as restored:
        states = await restored.jobs.states()
        assert set(states) >= {job.id for job in before}
        assert set(states) <= set(originals)
        for job_id, state in states.items():
            job = await restored.jobs.get(job_id)
            assert job is not None
            for image in await restored.jobs.images(job_id):
                assert image.path.read_bytes() == originals[job_id][image.path.name]
            assert state is not JobState.DONE or files_of(job, settings.data_dir) == originals[job_id]
        await drawn(restored, make_job, make_images)


async def test_writes_between_any_two_pages_neither_wait_nor_start_the_copy_anew(
    registry: Registry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    put = "INSERT INTO members (id, created_at) VALUES (?, '2030-01-01 00:00:00')"

    class Watched(sqlite3.Connection):
        """Writes from another connection after each page that is copied."""

        def backup(self, target: sqlite3.Connection, **options: Any) -> None:
            super().backup(target, **{**options, "pages": 1, "progress": self.copied})

        def copied(self, _status: int, _remaining: int, total: int) -> None:
            nonlocal steps
            steps += 1
            writing.execute(put, (100_000 + steps,))
            assert steps <= total + 2, "the copy began anew"

    def watched(database: Path) -> sqlite3.Connection:
        return sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, isolation_level=None, factory=Watched)

    monkeypatch.setattr(backup, "_reading", watched)
    path = settings.data_dir / DATABASE
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as writing:
        writing.execute("PRAGMA synchronous = OFF")
        writing.execute("BEGIN")
        writing.executemany(put, [(number,) for number in range(1, 5000)])
        writing.execute("COMMIT")
        made = back_up(settings.data_dir, tmp_path / "to", "atelier", datetime.now(UTC))
    assert steps > 40, "a copy in so few steps shows nothing"
    with closing(sqlite3.connect(made.folder / DATABASE)) as copy:
        assert copy.execute("SELECT count(*), max(id) FROM members").fetchone() == (4999, 4999)


async def test_files_that_are_gone_are_counted_and_nothing_from_outside_is_taken(
    registry: Registry, settings: Settings, tmp_path: Path, make_job: Jobs, make_images: Images
) -> None:
    gone, linked, planted = [await drawn(registry, make_job, make_images) for _ in range(3)]
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    images = settings.data_dir / "images"
    shutil.rmtree(images / gone.id)
    (images / linked.id / "1-0.png").unlink()
    (images / linked.id / "1-0.png").symlink_to(secret)
    with closing(sqlite3.connect(settings.data_dir / DATABASE)) as writing:
        path = f"images/{planted.id}/../../../secret.png"
        writing.execute('UPDATE images SET path = ? WHERE job_id = ? AND "index" = 0', (path, planted.id))
        path = f"../{settings.data_dir.name}/images/{planted.id}/1-1.png"  # there it is, but where would it go?
        writing.execute('UPDATE images SET path = ? WHERE job_id = ? AND "index" = 1', (path, planted.id))
        writing.commit()
    made = back_up(settings.data_dir, tmp_path / "to", "atelier", datetime.now(UTC))
    assert (made.jobs, made.gone, made.files) == (3, 3 + 1 + 2, 3)
    assert [path.name for path in (tmp_path / "to").iterdir()] == [made.folder.name]
    kept = {str(path.relative_to(made.folder)) for path in made.folder.rglob("*") if path.is_file()}
    assert kept == {
        DATABASE,
        f"images/{linked.id}/1-1.png",
        f"images/{linked.id}/start.png",
        f"images/{planted.id}/start.png",
    }
    assert made.size == sum((made.folder / path).stat().st_size for path in kept)


async def test_until_it_is_whole_it_is_called_part(
    registry: Registry,
    settings: Settings,
    tmp_path: Path,
    make_job: Jobs,
    make_images: Images,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await drawn(registry, make_job, make_images)
    names: set[str] = set()
    really = os.fsync

    def looking(descriptor: int) -> None:
        names.update(path.name for path in (tmp_path / "to").iterdir())
        really(descriptor)

    monkeypatch.setattr(os, "fsync", looking)
    now = datetime(2026, 11, 23, 8, 1, 2, tzinfo=UTC)
    made = back_up(settings.data_dir, tmp_path / "to", "atelier", now)
    assert made.folder.name == "atelier-20261123-080102"
    assert names == {"atelier-20261123-080102.part", "atelier-20261123-080102"}, "renamed, and then synced once more"
    with pytest.raises(UserError, match="there is one of this second"):
        back_up(settings.data_dir, tmp_path / "to", "atelier", now)
    assert [path.name for path in (tmp_path / "to").iterdir()] == [made.folder.name]


@pytest.mark.parametrize(
    ("error", "raised", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), UserError, "There is not enough room for the backup"),
        (OSError(errno.EIO, "Input/output error"), UserError, r"cannot be written to .*Input/output error"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
async def test_what_does_not_become_whole_is_removed(
    registry: Registry,
    settings: Settings,
    tmp_path: Path,
    make_job: Jobs,
    make_images: Images,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
    sentence: str | None,
) -> None:
    await drawn(registry, make_job, make_images)

    def fail(_: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(raised, match=sentence):
        back_up(settings.data_dir, tmp_path / "to", "atelier", datetime.now(UTC))
    assert list((tmp_path / "to").iterdir()) == []


async def test_a_database_that_is_damaged_is_not_a_backup(
    registry: Registry, settings: Settings, tmp_path: Path, make_job: Jobs, make_images: Images
) -> None:
    for _ in range(30):
        await drawn(registry, make_job, make_images)
    await registry.__aexit__()
    path = settings.data_dir / DATABASE
    whole = path.read_bytes()
    path.write_bytes(whole[: 10 * 4096] + b"\xff" * 4096 * 8 + whole[18 * 4096 :])
    with pytest.raises(UserError, match=r"cannot be copied .*: run atelier doctor"):
        back_up(settings.data_dir, tmp_path / "to", "atelier", datetime.now(UTC))
    assert list((tmp_path / "to").iterdir()) == []


def folders(place: Path, *names: str) -> None:
    for name in names:
        (place / name).mkdir(parents=True)
        (place / name / DATABASE).touch()


def test_keep_leaves_the_newest_of_its_kind_and_what_is_not_its_own(tmp_path: Path) -> None:
    place = tmp_path / "backups"
    folders(place, "atelier-20261101-000000", "atelier-20261102-000000", "atelier-20261103-000000")
    folders(place, "atelier-20261104-000000.part", "atelier-20261122-120000.part")
    others = ["atelier-playground-20260101-000000", "atelier-old", "atelier-20260101-000000-mine", "photos"]
    folders(place, *others)
    folders(tmp_path, "elsewhere", "data")
    (place / "atelier-20260201-000000").symlink_to(tmp_path / "elsewhere")
    (place / "atelier-20260301-000000").write_text("a file")
    now = datetime(2026, 11, 23, 11, 0, 0, tzinfo=UTC)
    assert remove_older(place, "atelier", 2, now, spare=tmp_path / "data") == 2
    assert {path.name for path in place.iterdir()} == {
        *others,
        "atelier-20260201-000000",
        "atelier-20260301-000000",
        "atelier-20261102-000000",
        "atelier-20261103-000000",
        "atelier-20261122-120000.part",
    }
    assert remove_older(place, "atelier", 9, now, spare=tmp_path / "data") == 0


def test_a_backup_that_is_used_where_it_lies_is_not_removed(tmp_path: Path) -> None:
    folders(tmp_path, "atelier-20261101-000000", "atelier-20261102-000000", "atelier-20261103-000000")
    now = datetime(2026, 11, 23, tzinfo=UTC)
    assert remove_older(tmp_path, "atelier", 1, now, spare=tmp_path / "atelier-20261101-000000") == 1
    assert sorted(path.name[8:16] for path in tmp_path.iterdir()) == ["20261101", "20261103"]


async def test_the_command(
    registry: Registry, settings: Settings, tmp_path: Path, make_job: Jobs, make_images: Images
) -> None:
    await drawn(registry, make_job, make_images)
    place = tmp_path / "backups"
    folders(place, "atelier-20200101-000000", "atelier-20200102-000000")
    code, out, _ = await atelier_backup(settings, place, "--keep", "2")
    assert code == 0
    assert "(jobs: 1, files: 3, " in out
    assert "Older backups removed: 1." in out
    assert len(list(place.iterdir())) == 2

    code, out, err = await atelier_backup(settings, place, "--playground")
    assert (code, out) == (2, "")
    assert f"There is no database in {settings.data_dir / 'playground'}" in err
    async with Registry(settings.data_dir / "playground"):
        code, _, err = await atelier_backup(settings, place, "--playground")
    assert (code, err) == (0, "")
    assert len(list(place.glob("atelier-playground-*"))) == 1
    assert (await atelier_backup(settings, place, "--keep", "0"))[0] == 2


async def test_places_that_cannot_be(
    registry: Registry,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ATELIER_DATA_DIR", str(settings.data_dir))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(settings.data_dir)
    for place, sentence in (
        (settings.data_dir, "inside the data folder"),
        (settings.data_dir / "backups", "inside the data folder"),
        (tmp_path / "link" / "backups", "inside the data folder"),
        (tmp_path / "file", "cannot be written to"),
        (tmp_path / "file" / "below", "cannot be written to"),
        (Path("/proc/backups"), "cannot be written to"),
    ):
        assert main_backup(place, None, playground=False) == 2
        out, err = capsys.readouterr()
        assert sentence in err
        assert len(err.splitlines()) == 1
        assert out == ""
    assert sorted(path.name for path in settings.data_dir.iterdir() if not path.name.startswith(DATABASE)) == [
        "atelier.lock"
    ]


async def test_concepts_are_in_it(registry: Registry, tmp_path: Path, now: datetime) -> None:
    """With their sample pictures; half-trained ones, photos and what no row names are not."""
    data = registry.folder
    new = NewVersion(
        id="v", owner_id=1, guild_id=None, name="cat", depicts=Depicts.THING, consent="1", method=Method.LORA,
        class_word="cat", trigger="cat", path="concepts/v/concept.safetensors", sha256="a", bytes=7, model_hash="",
        model_name="", trained=None, created_at=now,
    )  # fmt: skip
    await registry.concepts.add(new, concepts_at_most=5)
    other = dataclasses.replace(new, id="w", name="dog", path="concepts/w/concept.safetensors")
    await registry.concepts.add(other, concepts_at_most=5)  # its files are missing
    for name in ("concepts/v/concept.safetensors", "concepts/v/strip.png", "concepts/x/concept.safetensors",
                 "trainings/j/photos/0.png"):  # fmt: skip
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(name.encode())
    made = await asyncio.to_thread(back_up, data, tmp_path / "backups", "atelier", now)
    found = sorted(path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*") if path.is_file())
    assert found == [DATABASE, "concepts/v/concept.safetensors", "concepts/v/strip.png"]
    assert (made.files, made.gone) == (2, 1)
    assert (made.folder / "concepts/v/strip.png").read_bytes() == b"concepts/v/strip.png"
