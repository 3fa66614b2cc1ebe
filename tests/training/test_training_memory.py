"""What training every weight takes, against what torch keeps; and what is said where that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from generation.forward import call_unet, made_up_inputs
from generation.model import LoadedModel
from tests.training.small_training import order, settings, tiny, trainer
from training import memory
from training.dreambooth import check
from training.events import TrainingRefused
from training.memory import bytes_to_train, memory_there
from training.networks import private_copy
from training.order import Method

GIB = 1024**3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tiny(tmp_path_factory.mktemp("tiny"))


def kept_for_the_way_back(model: LoadedModel, rows: int) -> int:
    """Bytes of all that torch saves in one forward, weights apart."""
    unet = private_copy(model.unet, model.device)
    weights = {weight.untyped_storage().data_ptr() for weight in unet.parameters()}
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    inputs = made_up_inputs(model.unet_config, rows, *model.latent_size, 16)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = call_unet(unet, inputs)
    assert output.requires_grad
    return sum(tensor.untyped_storage().nbytes() for place, tensor in saved.items() if place not in weights)


def test_the_estimate_is_near_what_torch_keeps(model: LoadedModel) -> None:
    width, height = model.info.defaults.width, model.info.defaults.height
    # 16 to train each weight, 12 for the checkpoint that is being written meanwhile.
    weights = 28 * sum(p.numel() for net in (model.unet, *model.text_encoders) for p in net.parameters())
    for rows in (1, 4):
        estimated = bytes_to_train(model, rows, width, height, checkpointing=False) - weights
        kept = kept_for_the_way_back(model, rows)
        assert 0.9 * kept < estimated < 2 * kept
    less = bytes_to_train(model, 4, width, height, checkpointing=True) - weights
    assert less < 0.6 * (bytes_to_train(model, 4, width, height, checkpointing=False) - weights)


def test_refused_with_what_it_needs_and_what_is_there(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {(True): 24.04 * GIB, (False): 30.0 * GIB}
    monkeypatch.setattr(memory, "bytes_to_train", lambda *_, checkpointing: needed[checkpointing])
    for there, said in ((12.3, None), (24.0, None), (24.1, True), (30.1, False)):
        monkeypatch.setattr(memory, "memory_there", lambda _, there=there: there * GIB)
        if said is not None:
            assert check(model, settings()) is said
            continue
        with pytest.raises(TrainingRefused, match=rf"needs 24\.0 GB of memory .* {there:.1f} GB are free here"):
            check(model, settings())


def test_what_is_there_on_this_computer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (info := tmp_path / "meminfo").write_text("MemTotal:  8000000 kB\nMemAvailable:    2048 kB\n")
    monkeypatch.setattr(memory, "_MEMORY_INFO", info)
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    cpu = torch.device("cpu")
    assert memory_there(cpu) == 2 * 1024**2
    (tmp_path / "memory.max").write_text("1500000\n")
    (tmp_path / "memory.current").write_text("500000\n")
    assert memory_there(cpu) == 1_000_000
    # Pages of files that were read count as held, and go when somebody needs the room.
    (tmp_path / "memory.stat").write_text("anon 100000\nfile 390000\ninactive_file 250000\nactive_file 50000\n")
    assert memory_there(cpu) == 1_300_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_there(cpu) == 2 * 1024**2
    info.unlink()
    assert memory_there(cpu) is None


def test_adapters_that_do_not_fit_are_refused_before_anything_is_done(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(memory, "memory_there", lambda _: 10.0)
    for method in (Method.LORA, Method.TEXTUAL_INVERSION):
        with pytest.raises(TrainingRefused, match=r"Training needs 0\.0 GB of memory .* 0\.0 GB are free here"):
            trainer(model, tmp_path, order=order(method), settings=settings())
