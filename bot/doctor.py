"""`atelier doctor`: is everything here that the bot needs? Each failure says what to do.

Runs outside the bot process: it may import torch to see the device.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import aiohttp
import discord
from rich.console import Console

from bot.invite import invite_link
from bot.keeping import disk_free, measured
from bot.registry.registry import DATABASE
from bot.settings import Settings, SettingsError, load_settings

Outcome = Literal["ok", "warn", "fail"]
MARK: dict[Outcome, str] = {"ok": "[green]✓[/]", "warn": "[yellow]![/]", "fail": "[red]✗[/]"}
NEEDED_DISK_GB = 2.0


@dataclass(frozen=True)
class Check:
    """One line of the report; `advice` is what to do when it is not ok."""

    name: str
    outcome: Outcome
    found: str
    advice: str = ""


def main_doctor() -> int:
    """Print the report; exit code 1 when anything failed."""
    console = Console(highlight=False, soft_wrap=True)
    failed = False
    for check in examine():
        console.print(f"{MARK[check.outcome]} [bold]{check.name}[/]: ", end="")
        console.print(check.found, markup=False)
        if check.advice:
            console.print(f"  → {check.advice}", markup=False)
        failed = failed or check.outcome == "fail"
    return 1 if failed else 0


def examine() -> Iterator[Check]:
    """All checks in the order in which a new operator meets them."""
    try:
        settings = load_settings()
    except SettingsError as error:
        yield Check("settings", "fail", str(error), "Correct it, then run atelier doctor again.")
        return
    yield Check("settings", "ok", f"data folder {settings.data_dir}, model {settings.model}")
    yield from token_and_intents(settings)
    yield database(settings)
    yield model(settings)
    yield device()
    yield disk(settings)


def token_and_intents(settings: Settings) -> Iterator[Check]:
    """Ask Discord who the token belongs to; the playground needs none, so no token is only a warning."""
    if settings.discord_token is None:
        yield Check(
            "token",
            "warn",
            "ATELIER_DISCORD_TOKEN is not set",
            "The playground needs none. For Discord, make a bot at discord.com/developers (README, "
            '"Connect your server") and set ATELIER_DISCORD_TOKEN.',
        )
        return
    wants_content = settings.message_content == "on"
    yield from asyncio.run(_ask_discord(settings.discord_token.get_secret_value(), wants_content=wants_content))


async def _ask_discord(token: str, *, wants_content: bool) -> list[Check]:
    client = discord.Client(intents=discord.Intents.none())
    try:
        await client.login(token)
        application = await client.application_info()
    except discord.LoginFailure:
        return [
            Check(
                "token",
                "fail",
                "Discord refused the token",
                "Reset it on the application's Bot page and set ATELIER_DISCORD_TOKEN again.",
            )
        ]
    except (aiohttp.ClientError, discord.HTTPException, OSError) as error:
        return [
            Check(
                "token",
                "fail",
                f"Discord could not be asked ({type(error).__name__})",
                "Check this machine's network connection, then try again.",
            )
        ]
    finally:
        await client.close()
    flags = application.flags
    content = flags.gateway_message_content or flags.gateway_message_content_limited
    return [
        Check("token", "ok", f"belongs to {application.name}; invite it with {invite_link(application.id)}"),
        message_content(allowed=content, wanted=wants_content),
    ]


def message_content(*, allowed: bool, wanted: bool) -> Check:
    """`allowed` by Discord, `wanted` by ATELIER_MESSAGE_CONTENT: wanted and not allowed, the bot can't connect."""
    if wanted and not allowed:
        return Check(
            "intents",
            "fail",
            "ATELIER_MESSAGE_CONTENT is on, but Discord doesn't allow it",
            "Switch on Message Content Intent on the application's Bot page, or set ATELIER_MESSAGE_CONTENT to off.",
        )
    if wanted:
        return Check("intents", "ok", "message content is on")
    return Check("intents", "ok", "message content is off: replies are read only where they ping the bot")


def database(settings: Settings) -> Check:
    """SQLite's own quick check, read-only, so that it can run beside a working bot."""
    path = settings.data_dir / DATABASE
    if not path.exists():
        return Check("database", "ok", f"{path} will be made at the first start")
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return Check(
            "database",
            "fail",
            f"{path} cannot be read ({error})",
            "Stop whatever holds it, or put your last backup in its place.",
        )
    if verdict != "ok":
        return Check("database", "fail", f"{path} is damaged: {verdict}", "Put your last backup in its place.")
    return Check("database", "ok", str(path))


def model(settings: Settings) -> Check:
    """Load it as the worker would: the only check that proves that it draws."""
    from generation.model import ModelError, load_model

    def _quiet(text: str, fraction: float | None) -> None:
        del text, fraction

    try:
        checked = settings.output_check == "on"
        loaded = load_model(settings.model, device=settings.device, own_check=checked, report=_quiet)
    except ModelError as error:
        return Check("model", "fail", str(error), "Set ATELIER_MODEL to bundled, a folder, a file or a hub id.")
    info = loaded.info
    size = f"{info.defaults.width}×{info.defaults.height}"
    return Check("model", "ok", f"{info.name}, {size}, {info.defaults.num_inference_steps} steps")


def device() -> Check:
    """Say so when a GPU is there that this torch cannot use: the commonest set-up mistake."""
    import torch

    if torch.cuda.is_available():
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Check("device", "ok", f"{torch.cuda.get_device_name(0)}, {gigabytes:.0f} GB")
    if torch.backends.mps.is_available():
        return Check("device", "ok", "Apple GPU (mps)")
    if Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi"):
        return Check(
            "device",
            "warn",
            f"an NVIDIA card is here, but torch {torch.__version__} cannot use it",
            "Install a CUDA build of torch (README, 'Choosing torch'); until then the CPU draws.",
        )
    return Check("device", "ok", f"CPU, {torch.get_num_threads()} threads; fine for the bundled model")


def disk(settings: Settings) -> Check:
    """Room for pictures in the data folder's file system, now and up to their budget."""
    folder = settings.data_dir / "images"
    free = disk_free(folder) / 1e9
    if free < NEEDED_DISK_GB:
        return Check(
            "disk",
            "fail",
            f"{free:.1f} GB free at {settings.data_dir}",
            f"Free some, or set ATELIER_DATA_DIR to a disk with at least {NEEDED_DISK_GB:.0f} GB.",
        )
    taken = measured(folder).size / 1e9
    found = f"{free:.0f} GB free at {settings.data_dir}; pictures take {taken:.1f} of {settings.disk_budget_gb:g} GB"
    if taken + free < settings.disk_budget_gb + NEEDED_DISK_GB:
        return Check(
            "disk",
            "warn",
            found,
            "Set ATELIER_DISK_BUDGET_GB to less: before the disk is full, the oldest pictures go anyway.",
        )
    return Check("disk", "ok", found)
