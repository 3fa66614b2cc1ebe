"""What `ast` cannot see: which modules a bot that has started, answered and drawn really holds."""

import subprocess
import sys

HEAVY = ("torch", "diffusers", "transformers", "numpy", "scipy", "onnxruntime")

PROGRAM = """
import asyncio, sys, tempfile
from pathlib import Path
import bot.app
from bot.chat.client import build_client
from bot.registry.registry import Registry
from bot.settings import load_settings
from bot.studio import Studio
from bot.worker.supervisor import ProcessWorker

async def main(folder):
    settings = load_settings({"ATELIER_DATA_DIR": folder, "ATELIER_MODEL": folder + "/none"}, Path(folder))
    async with Registry(settings.data_dir) as registry:
        async with Studio(settings, registry, ProcessWorker(settings)) as studio:
            build_client(studio, settings)
            studio.status()

with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(folder))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_running_bot_holds_nothing_heavy() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    held = set(ran.stdout.split())
    assert "discord" in held, "the program above did not start a bot"
    heavy = sorted(held & set(HEAVY))
    assert not heavy, (
        f"the bot process holds {heavy}: find the import with `python -X importtime -c 'import bot.app'` and move "
        "that work into the worker process (bot/worker/process.py)."
    )
