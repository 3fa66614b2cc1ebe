"""/train: a concept from photos. The command checks what it can; the form that it opens asks for the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands

from bot.chat import training
from bot.chat.answers import answering
from bot.chat.wording.training import METHOD_CHOICES
from training.order import Method

if TYPE_CHECKING:
    from bot.chat.client import AtelierClient


@app_commands.command(name="train", description="Teach me a thing, an animal or a person from 3 to 10 photos.")
@app_commands.describe(
    name="What you will write in prompts, in angle brackets: my-cat becomes <my-cat>",
    class_word="What kind of thing it is, in one to four words: cat, teddy bear, woman",
    method="How it is learned; without it, LoRA",
)
@app_commands.rename(class_word="class")
@app_commands.choices(
    method=[app_commands.Choice(name=said, value=method.value) for method, said in METHOD_CHOICES.items()]
)
@app_commands.allowed_contexts(guilds=True, dms=True, private_channels=False)
async def train(
    interaction: discord.Interaction[AtelierClient],
    name: app_commands.Range[str, 1, 64],
    class_word: app_commands.Range[str, 1, 64],
    method: str = Method.LORA.value,
) -> None:
    async with answering(interaction):
        await training.begin(interaction, name=name, class_=class_word, method=Method(method))
