"""A small real bot for the playground's tests: `python demo_bot.py http://127.0.0.1:PORT`.

Unmodified discord.py. Its one command that matters behaves as Atelier's does: acknowledge privately, send an
ordinary message with a nonce, edit it while "drawing", end with pictures, alt text and buttons.
"""

import asyncio
import io
import random
import sys
from typing import Literal

import discord
from discord import app_commands
from PIL import Image, ImageDraw

from bot.playground.connect import TOKEN, point_discord_at
from tests.bot.playground.demo_show import add_show

COLOURS = {"apple": "#d6332b", "fox": "#e07b2a", "rocket": "#4467c4", "cat": "#55504a"}


def picture(prompt: str, seed: int, noise: float) -> io.BytesIO:
    """A circle on a pale ground under a layer of noise: a stand-in for a picture that sharpens."""
    image = Image.new("RGB", (64, 64), "#f3ecd8")
    draw = ImageDraw.Draw(image)
    colour = next((c for word, c in COLOURS.items() if word in prompt), "#4a8f5b")
    draw.ellipse((14, 16, 50, 54), fill=colour)
    draw.line((32, 18, 35, 8), fill="#5b3a1e", width=3)
    rng = random.Random(seed)
    pixels = image.load()
    assert pixels is not None
    for x in range(64):
        for y in range(64):
            red, green, blue = (int(v * (1 - noise) + rng.randrange(256) * noise) for v in pixels[x, y])
            pixels[x, y] = (red, green, blue)
    out = io.BytesIO()
    image.save(out, "PNG")
    out.seek(0)
    return out


class Form(discord.ui.Modal, title="Remix"):
    prompt = discord.ui.TextInput[discord.ui.Modal](label="Prompt", default="a red apple", max_length=200)
    note = discord.ui.TextInput[discord.ui.Modal](label="Note", required=False, style=discord.TextStyle.paragraph)

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"Remix: {self.prompt.value} / {self.note.value}")


class Buttons(discord.ui.View):
    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Again", style=discord.ButtonStyle.primary, custom_id="demo:again")
    async def again(self, interaction: discord.Interaction, _button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.send_message("Once more!", ephemeral=True)

    @discord.ui.button(label="Remix", custom_id="demo:remix")
    async def remix(self, interaction: discord.Interaction, _button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.send_modal(Form())

    @discord.ui.button(label="Delete", style=discord.ButtonStyle.danger, custom_id="demo:delete")
    async def remove(self, interaction: discord.Interaction, _button: discord.ui.Button["Buttons"]) -> None:
        await interaction.response.defer()
        await interaction.delete_original_response()


class DemoBot(discord.AutoShardedClient):
    def __init__(self) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)
        super().__init__(intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self._connection.guild_ready_timeout = 0.1  # pyright: ignore[reportAttributeAccessIssue]
        self.tree = app_commands.CommandTree(self)

    async def setup_hook(self) -> None:
        self.add_view(Buttons())
        add_commands(self.tree)
        add_show(self.tree)
        await self.tree.sync()

    async def on_ready(self) -> None:
        print("ready", flush=True)

    async def on_resumed(self) -> None:
        print("resumed", flush=True)

    async def on_message(self, message: discord.Message) -> None:
        if message.author != self.user:
            print(f"message {message.content!r} {len(message.attachments)}", flush=True)


def add_commands(tree: app_commands.CommandTree[DemoBot]) -> None:
    @tree.command(description="Draw a picture from words.")
    @app_commands.describe(
        prompt="What to draw.", guidance="How closely to follow the prompt.", count="How many pictures."
    )
    async def imagine(
        interaction: discord.Interaction[DemoBot],
        prompt: str,
        negative_prompt: str = "",
        guidance: app_commands.Range[float, 1, 30] = 7.5,
        steps: app_commands.Range[int, 1, 150] = 8,
        seed: int = 1,
        size: Literal["64x64", "96x64"] = "64x64",
        count: app_commands.Range[int, 1, 4] = 1,
        image: discord.Attachment | None = None,
        strength: app_commands.Range[float, 0.05, 1.0] | None = None,
    ) -> None:
        await interaction.response.send_message("You are **next** in the queue.", ephemeral=True)
        channel = interaction.channel
        assert isinstance(channel, discord.abc.Messageable)
        started = f" from {image.filename} ({len(await image.read())} bytes)" if image else ""
        text = f"**{discord.utils.escape_markdown(prompt)}** · {interaction.user.mention}{started}"
        nonce = f"{interaction.id}:0"
        message = await channel.send(f"{text}\nStarting …", nonce=nonce)
        for step in range(0, steps, max(1, steps // 3)):
            preview = discord.File(picture(prompt, step, 0.9 - 0.8 * step / steps), "preview.png")
            await message.edit(content=f"{text}\nDrawing, step {step} of {steps}", attachments=[preview])
            await asyncio.sleep(0.4)
        files = [
            discord.File(picture(prompt, seed + k, 0.03), f"image-{k}.png", description=f"{prompt}, drawn")
            for k in range(count)
        ]
        recipe = f"{steps} steps · guidance {guidance:g} · seed {seed} · {size}"
        await message.edit(content=f"{text}\n-# {recipe}", attachments=files, view=Buttons())

    @tree.command(description="Sends the same message twice with one nonce.")
    async def twice(interaction: discord.Interaction[DemoBot]) -> None:
        channel = interaction.channel
        assert isinstance(channel, discord.TextChannel)
        sent = [await channel.send(f"number {n}", nonce="job:0") for n in (1, 2)]
        await interaction.response.send_message(f"{sent[0].id == sent[1].id}", ephemeral=True)

    @tree.command(description="Uploads a file of this many MiB.")
    async def heavy(interaction: discord.Interaction[DemoBot], mebibytes: int) -> None:
        await interaction.response.defer(ephemeral=True)
        file = discord.File(io.BytesIO(bytes(mebibytes * 1024 * 1024)), "heavy.bin")
        try:
            await interaction.followup.send("It fitted.", file=file)
        except discord.HTTPException as error:
            await interaction.followup.send(f"{error.status} {error.code} {error.text}")

    @tree.command(description="Never answers.")
    async def silent(interaction: discord.Interaction[DemoBot]) -> None:
        await asyncio.sleep(3.3)
        try:
            await interaction.response.send_message("too late")
        except discord.NotFound as error:
            print(f"late {error.code}", flush=True)

    @tree.command(description="Thinks, then answers with an embed.")
    async def think(interaction: discord.Interaction[DemoBot], seconds: float = 1.0) -> None:
        await interaction.response.defer()
        await asyncio.sleep(seconds)
        embed = discord.Embed(title="Thought", description="It is an *embed*.", colour=0x6B5BD2)
        embed.add_field(name="Queue", value="2 jobs").add_field(name="Model", value="bundled")
        await interaction.edit_original_response(content="Done.", embed=embed)

    @tree.command(description="Cancels a job.")
    async def cancel(interaction: discord.Interaction[DemoBot], job: str) -> None:
        await interaction.response.send_message(f"Cancelled {job}.", ephemeral=True)

    @cancel.autocomplete("job")
    async def jobs(_: discord.Interaction[DemoBot], current: str) -> list[app_commands.Choice[str]]:
        known = {"a red apple": "k1", "a rocket": "k2", "a fox in the snow": "k3"}
        return [app_commands.Choice(name=n, value=v) for n, v in known.items() if current.lower() in n]

    @tree.context_menu(name="Remix this")
    async def remix_this(interaction: discord.Interaction[DemoBot], message: discord.Message) -> None:
        await interaction.response.send_message(f"{message.content} {len(message.attachments)}")


if __name__ == "__main__":
    point_discord_at(sys.argv[1])
    DemoBot().run(TOKEN, log_handler=None)
