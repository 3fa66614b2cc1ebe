"""The `atelier` command line. Each command's work lives in a module of its own; this file only parses."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from training.order import Depicts, Method

app = typer.Typer(
    name="atelier",
    help="A Discord bot that turns one GPU into a shared art studio.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


concepts = typer.Typer(help="What members have trained. Looking and exporting go on beside a running bot.")
app.add_typer(concepts, name="concepts", no_args_is_help=True)

PlaygroundData = Annotated[bool, typer.Option("--playground", help="The playground's data instead.")]
Owner = Annotated[int | None, typer.Option(help="The member's id, where several have one of that name.")]
ConceptName = Annotated[str, typer.Argument(help="As in prompts, with or without the angle brackets.")]


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
    concept: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: what <NAME> in the prompt stands for; a textual inversion, a LoRA or weights."),
    ] = None,
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
                concepts=concept or [],
            ),
            output,
        )
    )


@app.command()
def train(
    photos: Annotated[list[Path], typer.Argument(help="3 to 10 photos, each from another side, in another place.")],
    name: Annotated[str, typer.Option(help="What it is called in prompts, for example my-cat.")],
    class_word: Annotated[str, typer.Option(help="What kind of thing it is, for example cat.")],
    method: Annotated[Method, typer.Option(help="lora is the practical choice.")] = Method.LORA,
    of: Annotated[
        Depicts, typer.Option(help="A thing or animal, yourself, or another adult who agreed; never a child.")
    ] = Depicts.THING,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The concept's file; NAME.safetensors if not given.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="At most; the method's own if not given.")] = None,
    prior: Annotated[
        bool | None, typer.Option(help="Hold what the class means to the model; as the method has it if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed and photos, same file.")] = 0,
    model: Annotated[str | None, typer.Option(help="bundled, a folder, a file or a hub id.")] = None,
) -> None:
    """Train a concept from photos without a bot. Stopped, the same command goes on where it was."""
    from bot.train_command import Wanted, train_to_file

    raise typer.Exit(
        train_to_file(
            Wanted(
                photos=photos,
                method=method,
                name=name,
                class_word=class_word,
                depicts=of,
                output=output,
                steps=steps,
                prior_preservation=prior,
                seed=seed,
                model=model,
            )
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


@concepts.command("list")
def concepts_list(playground: PlaygroundData = False) -> None:
    """All of them, by name."""
    from bot.concepts_command import list_concepts

    raise typer.Exit(list_concepts(playground=playground))


@concepts.command("show")
def concepts_show(name: ConceptName, owner: Owner = None, playground: PlaygroundData = False) -> None:
    """One with its versions and what came of their trainings."""
    from bot.concepts_command import show_concept

    raise typer.Exit(show_concept(name, owner, playground=playground))


@concepts.command("export")
def concepts_export(
    name: ConceptName,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="NAME.safetensors if not given.")] = None,
    owner: Owner = None,
    playground: PlaygroundData = False,
) -> None:
    """Its file, which other programs read, too."""
    from bot.concepts_command import export_concept

    raise typer.Exit(export_concept(name, owner, output, playground=playground))


@concepts.command("import")
def concepts_import(
    file: Annotated[Path, typer.Argument(help="A .safetensors file: a textual inversion, a LoRA or weights.")],
    name: Annotated[str | None, typer.Option(help="As the file says, or is called, if not given.")] = None,
    class_word: Annotated[str | None, typer.Option(help="As the file says if not given.")] = None,
    of: Annotated[Depicts | None, typer.Option(help="As the file says, or a thing, if not given.")] = None,
    owner: Annotated[int | None, typer.Option(help="A member's id; the operator's if not given.")] = None,
    playground: PlaygroundData = False,
) -> None:
    """A file as a member's concept. Stop the bot first."""
    from bot.concepts_command import Imported, import_concept

    wanted = Imported(file=file, name=name, class_word=class_word, depicts=of, owner=owner)
    raise typer.Exit(import_concept(wanted, playground=playground))


@concepts.command("delete")
def concepts_delete(name: ConceptName, owner: Owner = None, playground: PlaygroundData = False) -> None:
    """For good, with its files. Stop the bot first."""
    from bot.concepts_command import delete_concept

    raise typer.Exit(delete_concept(name, owner, playground=playground))


def main() -> None:
    app()
