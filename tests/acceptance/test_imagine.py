"""The main job with real processes: server, bot and worker, with the bundled model."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from generation.recipe import from_parameters
from tests.acceptance.house import House


def picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


async def test_the_main_job(house: House, tmp_path: Path) -> None:
    """Each part in a channel of its own, all in one house: starting a worker is what takes time."""
    await a_prompt_ends_in_a_picture_with_its_recipe(house)
    await house.move("second")
    await negative_prompt_count_and_start_image(house, tmp_path)
    await house.move("third")
    await the_same_interaction_twice_is_one_job(house)
    await house.move("fourth")
    await cancel_stops_a_running_picture(house)
    await house.move("fifth")
    await queue_and_info_answer(house)


async def a_prompt_ends_in_a_picture_with_its_recipe(house: House) -> None:
    answer = await house.imagine("a red apple on a white background", steps=4, seed=7, guidance=3)
    assert answer["state"] == "answered"
    assert answer["ephemeral"]

    [message] = await house.until_pictures(1)
    [attachment] = message["attachments"]
    assert "a red apple on a white background" in attachment["description"]
    assert "seed 7" in message["content"]
    image = picture(await house.download(attachment))
    recipe = from_parameters(image.info["parameters"])
    assert recipe.prompt == "a red apple on a white background"
    assert (recipe.seed, recipe.num_inference_steps, recipe.guidance_scale) == (7, 4, 3.0)
    corner = image.convert("RGB").getpixel((3, 3))
    assert isinstance(corner, tuple)
    assert min(corner) > 200, "the bundled model was asked for a white background"


async def negative_prompt_count_and_start_image(house: House, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.new("RGB", (200, 120), (20, 60, 220)).save(start)
    await house.imagine("a fox", steps=3, count=4, negative_prompt="green background")
    await house.imagine("a fox", steps=4, strength=0.5, files={"image": start})

    four, one = await house.until_pictures(2)
    assert len(four["attachments"]) == 4
    seeds = [from_parameters(picture(await house.download(a)).info["parameters"]).seed for a in four["attachments"]]
    assert seeds == [seeds[0] + k for k in range(4)]
    recipe = from_parameters(picture(await house.download(one["attachments"][0])).info["parameters"])
    assert recipe.strength == 0.5


async def the_same_interaction_twice_is_one_job(house: House) -> None:
    answer = await house.imagine("a cat", steps=3)
    await house.post(f"interactions/{answer['id']}/redeliver", {})
    await house.imagine("a dog", steps=3)
    await house.until_pictures(2)
    texts = [message["content"] for message in await house.public()]
    assert sum("a cat" in text for text in texts) == 1
    assert sum("a dog" in text for text in texts) == 1


async def cancel_stops_a_running_picture(house: House) -> None:
    await house.imagine("a castle", steps=150, count=4)
    message = await running_message(house)
    await house.press(message, "stop")

    async def cancelled() -> bool:
        return any("Stopped" in m["content"] for m in await house.public())

    await house.until(cancelled, "the message to say that it was stopped")
    await house.imagine("a house", steps=2)
    [done] = await house.until_pictures(1)
    assert "a house" in done["content"]


async def queue_and_info_answer(house: House) -> None:
    await house.imagine("a rocket", steps=150, count=4)
    queue = await house.command("queue")
    info = await house.command("info")
    assert queue["state"] == info["state"] == "answered"
    assert queue["ephemeral"]


async def running_message(house: House) -> dict[str, Any]:
    """The first public message of a job whose steps are being done."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = [m for m in await house.public() if m["attachments"] and m["components"]]
        return bool(found)

    await house.until(there, "a message with a live preview")
    return found[0]
