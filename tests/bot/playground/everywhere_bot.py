"""A second small real bot: discord.py in direct messages and threads, with menus and forms. It prints what it sees.

`python everywhere_bot.py http://127.0.0.1:PORT`
"""

import sys

import discord
from discord import app_commands

from bot.playground.connect import TOKEN, point_discord_at


class Form(discord.ui.Modal, title="Remix"):
    prompt = discord.ui.Label[discord.ui.Modal](
        text="Prompt", component=discord.ui.TextInput(default="a red apple", max_length=20, custom_id="prompt")
    )
    size = discord.ui.Label[discord.ui.Modal](
        text="Size",
        component=discord.ui.Select(
            custom_id="size", options=[discord.SelectOption(label=n, value=n) for n in ("64", "96")]
        ),
    )
    photos = discord.ui.Label[discord.ui.Modal](
        text="Photos", component=discord.ui.FileUpload(custom_id="photos", min_values=0, max_values=3, required=False)
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        parts = (self.prompt.component, self.size.component, self.photos.component)
        prompt, size, photos = parts
        assert isinstance(prompt, discord.ui.TextInput)
        assert isinstance(size, discord.ui.Select)
        assert isinstance(photos, discord.ui.FileUpload)
        contents = [(await photo.read()).decode() for photo in photos.values]
        await interaction.response.send_message(f"{prompt.value} / {size.values} / {contents}")


class Menus(discord.ui.View):
    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.select(
        custom_id="pick",
        min_values=1,
        max_values=2,
        options=[discord.SelectOption(label=n.upper(), value=n) for n in ("a", "b", "c")],
    )
    async def pick(self, interaction: discord.Interaction, select: discord.ui.Select["Menus"]) -> None:
        await interaction.response.send_message(f"picked {sorted(select.values)}", ephemeral=True)

    @discord.ui.select(cls=discord.ui.UserSelect, custom_id="who")
    async def who(self, interaction: discord.Interaction, select: discord.ui.UserSelect["Menus"]) -> None:
        await interaction.response.send_message(f"who {select.values[0].display_name}", ephemeral=True)

    @discord.ui.button(label="Form", custom_id="form")
    async def form(self, interaction: discord.Interaction, _button: discord.ui.Button["Menus"]) -> None:
        await interaction.response.send_modal(Form())


class EverywhereBot(discord.AutoShardedClient):
    def __init__(self) -> None:
        intents = discord.Intents(guilds=True, guild_messages=True, dm_messages=True)
        super().__init__(intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self._connection.guild_ready_timeout = 0.1  # pyright: ignore[reportAttributeAccessIssue]
        contexts = app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True)
        installs = app_commands.AppInstallationType(guild=True, user=True)
        self.tree = app_commands.CommandTree(self, allowed_contexts=contexts, allowed_installs=installs)

    async def setup_hook(self) -> None:
        self.add_view(Menus())
        add_commands(self.tree)
        await self.tree.sync()

    async def on_ready(self) -> None:
        print("ready", flush=True)

    async def on_thread_create(self, thread: discord.Thread) -> None:
        print(f"thread {thread.name} nsfw={thread.is_nsfw()}", flush=True)

    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        print(f"deleted {payload.message_id}", flush=True)

    async def on_message(self, message: discord.Message) -> None:
        if message.author == self.user:
            return
        where = "dm" if message.guild is None else type(message.channel).__name__
        told = message.content or "-"
        if message.message_snapshots:
            told = f"forward {message.message_snapshots[0].content or '-'}"
        reference = message.reference.resolved if message.reference else None
        if isinstance(reference, discord.Message) and message.type is discord.MessageType.reply:
            told += f" to {reference.content or '-'}"
        print(f"message {where} {told} {len(message.attachments)}", flush=True)
        if self.user in message.mentions:
            await message.reply("heard", mention_author=False)


def add_commands(tree: app_commands.CommandTree[EverywhereBot]) -> None:
    @tree.command(description="Says where it was used.")
    async def where(interaction: discord.Interaction[EverywhereBot]) -> None:
        context, app, user = interaction.context, interaction.app_permissions, interaction.permissions
        channel = interaction.channel
        nsfw = channel.is_nsfw() if isinstance(channel, discord.TextChannel | discord.Thread) else None
        parts = [
            f"guild={context.guild} dm={context.dm_channel} private={context.private_channel}",
            f"channel={type(channel).__name__} nsfw={nsfw}",
            f"app.attach_files={app.attach_files} user.manage_messages={user.manage_messages}",
            f"by_guild={interaction.is_guild_integration()} by_user={interaction.is_user_integration()}",
        ]
        await interaction.response.send_message(" ".join(parts))

    @tree.command(description="For managers only.")
    @app_commands.default_permissions(manage_guild=True)
    async def settings(interaction: discord.Interaction[EverywhereBot]) -> None:
        await interaction.response.send_message("Settings.", ephemeral=True)

    @tree.command(description="Shows menus.")
    async def menus(interaction: discord.Interaction[EverywhereBot]) -> None:
        await interaction.response.send_message("Menus.", view=Menus())

    @tree.command(description="Sends a message into this channel.")
    async def post(interaction: discord.Interaction[EverywhereBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        channel = interaction.channel
        assert isinstance(channel, discord.abc.Messageable)
        try:
            message = await channel.send("posted", nonce="post:0")
            await message.edit(content="edited")
            await interaction.followup.send("Done.")
        except discord.HTTPException as error:
            await interaction.followup.send(f"{error.status} {error.code}")

    @tree.command(description="Writes to the member in private.")
    async def whisper(interaction: discord.Interaction[EverywhereBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        sent = await interaction.user.send("psst")
        await interaction.followup.send(f"Sent in {sent.channel.id}.")

    @tree.context_menu(name="Remix")
    async def remix(interaction: discord.Interaction[EverywhereBot], message: discord.Message) -> None:
        data = await message.attachments[0].read() if message.attachments else b"-"
        await interaction.response.send_message(f"{message.content} {data.decode()}")


if __name__ == "__main__":
    point_discord_at(sys.argv[1])
    EverywhereBot().run(TOKEN, log_handler=None)
