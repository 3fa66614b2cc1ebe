"""A token of one's own, from five photos in a form to pictures, a remix, somebody else's button, and its end."""

import io
import re

import pytest
from playwright.async_api import FilePayload, Locator

from tests.acceptance.browser import Visitor, expect, visiting
from tests.acceptance.house import House
from training.views import views

pytestmark = pytest.mark.browser

SUBJECT = "teddy-bear"
ALIKE = 40.0
"""Of 255: how far a colour may be from what was asked for."""


def photos(icon: str, seed: int = 0) -> list[FilePayload]:
    """Five views of a pictogram that the model has never seen, as files to be chosen."""
    files: list[FilePayload] = []
    for number, view in enumerate(views(icon, seed)[0]):
        out = io.BytesIO()
        view.resize((256, 256)).save(out, "PNG")
        files.append({"name": f"photo-{number}.png", "mimeType": "image/png", "buffer": out.getvalue()})
    return files


async def fill_in(visitor: Visitor, files: list[FilePayload]) -> None:
    await visitor.form.locator("input[type=file]").set_input_files(files)
    await visitor.form.get_by_role("radio", name="A thing or an animal").check()
    await visitor.form.get_by_role("checkbox", name="I agree").check()
    await visitor.keep("train-form")
    await visitor.press(visitor.form, "Send")
    await expect(visitor.form).to_be_hidden()


async def train(visitor: Visitor, options: str, files: list[FilePayload]) -> Locator:
    """From the command to the message that shows how it goes."""
    await visitor.send(f"/train {options}")
    await expect(visitor.form).to_be_visible()
    await fill_in(visitor, files)
    await expect(visitor.private).to_contain_text("photo-4.png")
    await visitor.keep("train-verdicts")
    going = visitor.messages.filter(has_text="Training <teddy>").last
    await expect(going).to_be_visible()
    return await visitor.pinned(going)


async def trained(visitor: Visitor, message: Locator) -> None:
    await expect(message.get_by_role("button", name="Recipe")).to_be_visible(timeout=400_000)


QUICK = {"ATELIER_TRAINING_STEPS": "40"}
"""Too few to learn anything: the way is what the quick test is about. What is learned, `make soak` shows."""


@pytest.mark.parametrize(
    ("method", "settings"),
    [("textual_inversion", QUICK), pytest.param("lora", {}, marks=pytest.mark.soak)],
)
async def test_train_a_token_and_use_it(
    open_house: House, chromium: str, method: str, settings: dict[str, str]
) -> None:
    await open_house.open(**settings)
    async with visiting(open_house, chromium) as visitor:
        await visitor.drawn(visitor.send("/imagine prompt: a bear --steps 4"))  # now the model is loaded
        await wrong_names_and_photos_are_refused(visitor)
        message = await train(visitor, f"name: Teddy class: bear method: {method}", photos(SUBJECT))
        await others_draw_meanwhile(visitor, message)
        await trained(visitor, message)
        await visitor.keep("train-card", message.get_by_text("alike:"))
        picture = await its_word_draws(visitor, learned=not settings)
        remix = await it_can_be_remixed(visitor, picture)
        await another_member_is_refused_kindly(visitor, picture)
        await it_can_be_shared(visitor, picture)
        await it_is_gone_for_good(visitor, remix)


async def wrong_names_and_photos_are_refused(visitor: Visitor) -> None:
    await visitor.told("/train name: <|endoftext|> class: bear", "is not one")
    await visitor.told("/train name: teddy class: child", "Concepts of children are refused")
    await visitor.told("/imagine prompt: a photo of <teddy>", "<teddy>")
    same = photos(SUBJECT)[:1] * 3
    await visitor.send("/train name: teddy class: bear")
    await expect(visitor.form).to_be_visible()
    broken: FilePayload = {"name": "letter.png", "mimeType": "image/png", "buffer": b"%PDF-1.7 hello"}
    await fill_in(visitor, [*same, broken])
    await expect(visitor.private).to_contain_text("letter.png")
    await expect(visitor.private).to_contain_text(re.compile("at least 3", re.IGNORECASE))
    await visitor.keep("train-refused")


async def others_draw_meanwhile(visitor: Visitor, training: Locator) -> None:
    await expect(training).to_contain_text(re.compile(r"step \d+/\d+"), timeout=400_000)
    await visitor.act_as("Robin")
    await visitor.drawn(visitor.send("/imagine prompt: a red apple --steps 10"))
    await expect(training.get_by_role("button", name="Stop")).to_be_visible()
    await visitor.told("/queue", "a training")
    await expect(visitor.private).not_to_contain_text("teddy")
    await visitor.act_as("You")
    await expect(training.get_by_role("img")).to_be_visible(timeout=400_000)  # samples
    await visitor.keep("train-progress", training)


async def its_word_draws(visitor: Visitor, *, learned: bool) -> Locator:
    message = await visitor.drawn(
        visitor.send("/imagine prompt: <Teddy> on a blue background guidance: 3 seed: 5 count: 4")
    )
    await visitor.keep("train-blue", message)
    red, _, blue = await visitor.colour(message.get_by_role("img").first, 0.04, 0.04)
    assert not learned or blue > red + ALIKE, "the prompt is followed beside the concept"
    return message


async def it_can_be_remixed(visitor: Visitor, picture: Locator) -> Locator:
    line = f"{visitor.house.mention()} <teddy> on a green background --strength 0.9 --cfg 3"
    remix = await visitor.drawn(visitor.reply(picture, line))
    await visitor.keep("train-remix", remix)
    return remix


async def another_member_is_refused_kindly(visitor: Visitor, picture: Locator) -> None:
    await visitor.act_as("Robin")
    await visitor.press(picture, "Again")
    await expect(visitor.private).to_contain_text("<teddy>")
    await visitor.keep("train-others-again", visitor.private)
    await visitor.press(picture, "Remix")
    await expect(visitor.form).to_be_visible()
    await expect(visitor.field("Prompt")).not_to_have_value(re.compile("teddy"))
    await visitor.page.keyboard.press("Escape")
    await visitor.told("/concepts list", "no concepts yet")
    await visitor.act_as("You")


async def it_can_be_shared(visitor: Visitor, picture: Locator) -> None:
    await visitor.told("/concepts share name: teddy", "Everybody in this server")
    await visitor.act_as("Robin")
    await visitor.drawn(visitor.press(picture, "Again"))
    await visitor.act_as("You")
    await visitor.told("/concepts unshare name: teddy", "no longer shared")
    await visitor.told("/concepts show name: teddy", "steps")
    await visitor.keep("concepts-show")


async def it_is_gone_for_good(visitor: Visitor, remix: Locator) -> None:
    folder = visitor.house.data / "concepts"
    assert list(folder.glob("*/*.safetensors"))
    await visitor.send("/concepts delete name: teddy")
    await visitor.press(visitor.private, "Delete for good")
    await expect(visitor.private).to_contain_text("is deleted")
    assert not list(folder.rglob("*.safetensors"))
    assert not list((visitor.house.data / "trainings").rglob("*.png"))
    await visitor.press(remix, "Again")
    await expect(visitor.private).to_contain_text("<teddy>")
