"""What the demo bot shows so that the page can be looked at: everything that a bot's message can hold."""

import io
import random
import time
from typing import Any, Literal

import discord
from discord import app_commands, ui
from PIL import Image

HOSTILE_NAME = "\u202egnp.exe\u202c **<script>alert(1)</script>** @everyone " + "\u0301" * 40
HOSTILE_TEXT = (
    "<img src=x onerror=alert(1)> [go](javascript:alert(1)) \u202etfel ot thgir\u202c @everyone <@&1> nul:\x00 "
)

Sight = Literal["gallery", "buttons", "menus", "embed", "pages", "text", "hostile", "direct", "private"]


def tile(number: int, width: int = 96, height: int = 96) -> discord.File:
    """A picture of one colour with alt text; the third is hidden."""
    rng = random.Random(number)
    colour = (rng.randrange(60, 230), rng.randrange(60, 230), rng.randrange(60, 230))
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    out.seek(0)
    return discord.File(
        out, f"tile-{number}.png", description=f"Tile number {number}, of one colour", spoiler=number == 3
    )


class Everything(ui.Modal, title="Everything in one form"):
    """All kinds of fields that Atelier's forms use."""

    prompt = ui.Label[ui.Modal](
        text="Prompt",
        description="What to draw.",
        component=ui.TextInput(
            style=discord.TextStyle.paragraph, default="a red apple", min_length=5, max_length=60, custom_id="prompt"
        ),
    )
    kind = ui.Label[ui.Modal](
        text="Kind",
        component=ui.RadioGroup(
            custom_id="kind",
            options=[
                discord.RadioGroupOption(label="A thing", value="thing", description="An object or an animal."),
                discord.RadioGroupOption(label="Myself", value="me"),
            ],
        ),
    )
    agree = ui.Label[ui.Modal](
        text="Consent",
        component=ui.CheckboxGroup(
            custom_id="agree",
            min_values=1,
            options=[discord.CheckboxGroupOption(label="The photos are mine", value="mine")],
        ),
    )
    size = ui.Label[ui.Modal](
        text="Size",
        component=ui.Select(
            custom_id="size",
            required=False,
            options=[
                discord.SelectOption(label="Small", value="s", description="64 pixels"),
                discord.SelectOption(label="Large", value="l"),
            ],
        ),
    )
    photos = ui.Label[ui.Modal](
        text="Photos",
        description="Two or three pictures of it.",
        component=ui.FileUpload(custom_id="photos", min_values=2, max_values=3),
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        def part(label: ui.Label[ui.Modal]) -> object:
            field = label.component
            if isinstance(field, ui.FileUpload):
                return [file.filename for file in field.values]
            return field.values if isinstance(field, ui.Select | ui.CheckboxGroup) else getattr(field, "value", None)

        answers = [part(label) for label in (self.prompt, self.kind, self.agree, self.size, self.photos)]
        await interaction.response.send_message(f"`{answers}`", ephemeral=True)


def twenty_five_buttons() -> ui.View:
    view = ui.View(timeout=None)
    styles = [discord.ButtonStyle.secondary, discord.ButtonStyle.primary, discord.ButtonStyle.success]
    styles += [discord.ButtonStyle.danger, discord.ButtonStyle.secondary]
    for number in range(25):
        button = ui.Button[ui.View](
            label=f"V{number + 1}", custom_id=f"show:{number}", style=styles[number % 5], disabled=number == 4
        )

        async def pressed(interaction: discord.Interaction, number: int = number) -> None:
            await interaction.response.send_message(f"You pressed V{number + 1}.", ephemeral=True)

        button.callback = pressed
        view.add_item(button)
    return view


def menus() -> ui.View:
    view = ui.View(timeout=None)
    words = [("A fox", "Quick and brown"), ("A cat", None), ("A rocket", "To the moon")]
    options = [discord.SelectOption(label=label, value=label, description=about) for label, about in words]
    one = ui.Select[ui.View](placeholder="Which subject?", custom_id="show:one", options=options)
    two = ui.Select[ui.View](
        placeholder="Which two?", custom_id="show:two", options=options, min_values=2, max_values=2
    )
    for select in (one, two):

        async def chosen(interaction: discord.Interaction, select: ui.Select[ui.View] = select) -> None:
            await interaction.response.send_message(f"Chosen: {', '.join(select.values)}.", ephemeral=True)

        select.callback = chosen
        view.add_item(select)
    return view


class Photos(ui.Modal, title="Teach me a new word"):
    """A text to agree to, several files, a choice and a box that has to be ticked."""

    agreed = ui.TextDisplay[Any]("**What you agree to**\nThe photos are *deleted* when it has ended.")
    photos = ui.Label[ui.Modal](
        text="Photos", component=ui.FileUpload(custom_id="photos", min_values=3, max_values=10)
    )
    of = ui.Label[ui.Modal](
        text="What it is",
        component=ui.RadioGroup(
            custom_id="of",
            options=[
                discord.RadioGroupOption(label="A thing or an animal", value="thing"),
                discord.RadioGroupOption(label="Myself", value="self"),
            ],
        ),
    )
    agree = ui.Label[ui.Modal](
        text="Consent",
        component=ui.CheckboxGroup(
            custom_id="agree", min_values=1, options=[discord.CheckboxGroupOption(label="I agree", value="yes")]
        ),
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        photos, of = self.photos.component, self.of.component
        assert isinstance(photos, ui.FileUpload)
        assert isinstance(of, ui.RadioGroup)
        await interaction.response.send_message(f"`{len(photos.values)} of {of.value}`")


def add_show(tree: app_commands.CommandTree) -> None:
    @tree.command(description="Opens a form with every kind of field.")
    async def form(interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Everything())

    @tree.command(description="Opens a form with a text, photos and consent.")
    async def photos(interaction: discord.Interaction, note: str = "") -> None:
        await interaction.response.send_modal(Photos())

    @photos.autocomplete("note")
    async def words(_: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
        before, mark, typed = current.rpartition("<")
        whole = [f"{before}<{name}>" for name in ("my-cat", "my-mug") if mark and name.startswith(typed)]
        return [app_commands.Choice(name=one, value=one) for one in whole]

    @tree.command(description="Shows what messages can hold.")
    async def show(interaction: discord.Interaction, what: Sight, target: str = "") -> None:
        answer = interaction.response.send_message
        if what == "gallery":
            await answer("Ten pictures", files=[tile(n, 96, 96 if n % 2 else 72) for n in range(1, 11)])
        elif what == "buttons":
            await answer("Five rows", view=twenty_five_buttons())
        elif what == "menus":
            await answer("Two menus", view=menus())
        elif what == "embed":
            await answer(embed=whole_embed(), files=[tile(1, 320, 200), tile(2)])
        elif what == "pages":
            cards = [
                discord.Embed(url="https://example.com/h").set_image(url=f"attachment://{n}.png") for n in "abcd"
            ]
            cards[0].title = "Your pictures"
            files = [discord.File(tile(n).fp, f"{name}.png") for n, name in enumerate("abcd", 11)]
            await answer(embeds=cards, files=files, ephemeral=True)
        elif what == "text":
            await answer(sample_text(interaction, target))
        elif what == "hostile":
            embed = discord.Embed(title=HOSTILE_NAME[:250], description=HOSTILE_TEXT * 40)
            embed.add_field(name=HOSTILE_NAME, value="x" * 1000).set_footer(text="**" * 500)
            view = ui.View().add_item(ui.Button(label=HOSTILE_NAME[:80], custom_id="show:hostile"))
            await answer(HOSTILE_TEXT + "*_~|`[" * 290, embed=embed, view=view)
        elif what == "direct":
            await answer("I wrote to you.", ephemeral=True)
            await interaction.user.send("A word in **private**.")
        else:
            await answer("A secret for you alone.", ephemeral=True)


def whole_embed() -> discord.Embed:
    embed = discord.Embed(
        title="A fox", url="https://example.com/fox", colour=0x6B5BD2, description="With *words* and\n-# small print"
    )
    embed.set_author(name="Atelier").set_thumbnail(url="attachment://tile-2.png")
    embed.set_image(url="attachment://tile-1.png").set_footer(text="8 steps")
    embed.add_field(name="Seed", value="`7`").add_field(name="Steps", value="8").add_field(name="Size", value="64")
    return embed


def sample_text(interaction: discord.Interaction, target: str) -> str:
    """Every mark that the page knows, `target` being a message to link to."""
    now = int(time.time())
    place = f"https://discord.com/channels/{interaction.guild_id or '@me'}/{interaction.channel_id}/{target}"
    command = "</imagine:1346000000000000000>"
    return "\n".join(
        [
            f"{interaction.user.mention} in <#{interaction.channel_id}> used {command}",
            f"soon <t:{now + 300}:R>, before <t:{now - 3 * 86400}:R>, long ago <t:{now - 400 * 86400}:R>, at <t:0:d>",
            f"made from {place} or [this one]({place}), see [the manual](https://example.com/manual)",
            "a ||hidden **word**|| and ~~a wrong~~ __a right__ `code`",
            "> a quote",
            "1. first",
            "2. second",
            "-# 8 steps · seed 7",
        ]
    )
