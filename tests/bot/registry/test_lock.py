import subprocess
import sys
from pathlib import Path

import pytest

from bot.errors import DataFolderInUse, DataFolderUnusable
from bot.registry.lock import DataFolderLock

HOLD = """
import sys, time
from pathlib import Path
from bot.registry.lock import DataFolderLock
with DataFolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_bot_is_refused_until_the_first_one_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(DataFolderInUse, match="Another Atelier already uses the data folder"):
            DataFolderLock(folder).__enter__()
        first.kill()
        first.wait()
    with DataFolderLock(folder):
        pass


def test_it_can_be_taken_again_after_it_was_let_go(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path), pytest.raises(DataFolderInUse):
        DataFolderLock(tmp_path).__enter__()
    with DataFolderLock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataFolderUnusable, match="ATELIER_DATA_DIR"):
        DataFolderLock(tmp_path / "file" / "data").__enter__()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_nobody_else_on_the_machine_can_look_into_a_new_folder(tmp_path: Path) -> None:
    with DataFolderLock(tmp_path / "data"):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
