"""The `atelier` command line. Each command's work lives in a module of its own; this file only parses."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="atelier",
    help="A Discord bot that turns one GPU into a shared art studio.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"atelier {version('atelier-studio')}")
        raise typer.Exit


@app.callback()
def atelier(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A Discord bot that turns one GPU into a shared art studio."""


@app.command()
def playground(
    port: Annotated[int | None, typer.Option(help="Port of the chat page; 0 picks a free one.")] = None,
) -> None:
    """Try the bot in a local chat page: no account, no token, no network."""
    from bot.app import main_playground

    raise typer.Exit(main_playground(port))


@app.command()
def run(
    playground_url: Annotated[
        str | None, typer.Option(hidden=True, help="A running playground server instead of Discord.")
    ] = None,
) -> None:
    """Run the bot on Discord. The token comes from ATELIER_DISCORD_TOKEN."""
    from bot.app import main_run

    raise typer.Exit(main_run(playground_url))


@app.command()
def imagine(
    prompt: Annotated[list[str], typer.Argument(help="One prompt or several.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="PNG file; several pictures get -1, -2 … before the ending."),
    ] = Path("atelier.png"),
    negative_prompt: Annotated[str, typer.Option(help="What to keep out of the picture.")] = "",
    guidance_scale: Annotated[float, typer.Option(help="1 = off; larger follows the prompt more.")] = 7.5,
    steps: Annotated[int | None, typer.Option(help="Denoising steps; the model's default if not given.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same picture; random if not given.")] = None,
    count: Annotated[int, typer.Option(help="Pictures per prompt.")] = 1,
    width: Annotated[int | None, typer.Option(help="In pixels; the model's default if not given.")] = None,
    height: Annotated[int | None, typer.Option(help="In pixels; the model's default if not given.")] = None,
    image: Annotated[Path | None, typer.Option(help="Start from this image.")] = None,
    strength: Annotated[
        float | None, typer.Option(help="With --image: 0.05 keeps nearly all of it, 1 nothing.")
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Name of a sampler, for example euler.")] = None,
    model: Annotated[str | None, typer.Option(help="bundled, a folder, a file or a hub id.")] = None,
) -> None:
    """Draw pictures without a bot."""
    from bot.imagine_command import Wanted, imagine_to_files

    raise typer.Exit(
        imagine_to_files(
            Wanted(
                prompts=prompt,
                negative_prompt=negative_prompt,
                guidance_scale=guidance_scale,
                num_inference_steps=steps,
                seed=seed,
                count=count,
                width=width,
                height=height,
                image=image,
                strength=strength,
                scheduler=scheduler,
                model=model,
            ),
            output,
        )
    )


@app.command()
def doctor() -> None:
    """Check token, intents, database, model, device and disk, and say what to do for each failure."""
    from bot.doctor import main_doctor

    raise typer.Exit(main_doctor())


@app.command()
def backup(
    destination: Annotated[Path, typer.Argument(help="A folder, best on another disk; it is made where needed.")],
    keep: Annotated[int | None, typer.Option(min=1, help="Remove all but this many of the backups in it.")] = None,
    playground: Annotated[bool, typer.Option("--playground", help="The playground's data instead.")] = False,
) -> None:
    """Copy database and pictures into a new folder in DESTINATION, also while the bot runs."""
    from bot.backup import main_backup

    raise typer.Exit(main_backup(destination, keep, playground=playground))


@app.command()
def reports(
    most: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    playground: Annotated[bool, typer.Option("--playground", help="The playground's data instead.")] = False,
) -> None:
    """List what members reported to the operator, also while the bot runs."""
    from bot.report_list import main_reports

    raise typer.Exit(main_reports(most, playground=playground))


def main() -> None:
    app()
