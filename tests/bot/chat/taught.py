"""What the tests of concepts share: one that was trained, without the training."""

from __future__ import annotations

import hashlib
import json
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from PIL import Image

from bot.concepts import CONCEPT_FILE, STRIP_FILE, NewVersion
from bot.job import new_job_id
from bot.registry.concept_rows import publish
from bot.registry.tables import MemberRow
from bot.worker.fake import FAKE_MODEL
from training.order import Card, Depicts, Method, TrainedConcept, Verdict

if TYPE_CHECKING:
    from conftest import World
    from simcord.actors import MemberActor

    from bot.concepts import Concept

CARD = Card(verdict=Verdict.LEARNED, similarity=0.87, held_out=True, prompt_fidelity=0.96, drift=0.1)


def safetensors(**tensors: list[float]) -> bytes:
    """A file as the format's specification has it: eight bytes of length, a header in JSON, the numbers."""
    header: dict[str, Any] = {}
    numbers = b""
    for name, values in tensors.items():
        data = struct.pack(f"<{len(values)}f", *values)
        span = [len(numbers), len(numbers) + len(data)]
        header[name] = {"dtype": "F32", "shape": [1, len(values)], "data_offsets": span}
        numbers += data
    said = json.dumps(header).encode()
    return len(said).to_bytes(8, "little") + said + numbers


async def taught(
    world: World,
    who: MemberActor,
    name: str,
    *,
    depicts: Depicts = Depicts.THING,
    method: Method = Method.LORA,
    model: tuple[str, str] = (FAKE_MODEL.hash, FAKE_MODEL.name),
    trained: bool = True,
    size: int = 400,
    card: Card = CARD,
    strip: bool = True,
) -> Concept:
    """A concept of a member's, made in the channel's server: rows and files as a training leaves them.

    `model`: hash and name of the one that it was made for; `size`: bytes that its file has, as its row says.
    """
    version_id = new_job_id()
    folder = world.folder / "concepts" / version_id
    folder.mkdir(parents=True)
    data = safetensors(**{version_id: [0.25, -1.5]})
    (folder / CONCEPT_FILE).write_bytes(data)
    if strip:
        Image.new("RGB", (256, 64), "teal").save(folder / STRIP_FILE)
    path, digest = f"concepts/{version_id}/{CONCEPT_FILE}", hashlib.sha256(data).hexdigest()
    trigger = "" if method is Method.TEXTUAL_INVERSION else "zwqk cat"
    result = TrainedConcept(
        file=path, sha256=digest, trigger=trigger, steps=300, stopped_early=True, seconds=120, card=card
    )
    new = NewVersion(
        id=version_id,
        owner_id=who.id,
        guild_id=world.env.guild.id,
        name=name,
        depicts=depicts,
        consent="test",
        method=method,
        class_word="cat",
        trigger=trigger,
        path=path,
        sha256=digest,
        bytes=size,
        model_hash=model[0],
        model_name=model[1],
        trained=result if trained else None,
        created_at=datetime.now(UTC),
    )
    async with world.registry.concepts.database.write() as session:
        await session.merge(MemberRow(id=who.id, created_at=new.created_at))
        await publish(session, new)
    return next(one for one in await world.registry.concepts.own(who.id) if one.name == name)


async def shared(world: World, who: MemberActor, name: str, **options: object) -> Concept:
    """One that everybody in the channel's server can use."""
    await taught(world, who, name, **options)  # pyright: ignore[reportArgumentType]
    return await world.registry.concepts.share(who.id, world.env.guild.id, name, datetime.now(UTC))
