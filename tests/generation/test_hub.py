"""Downloads from a hub of our own on loopback: real HTTP, the unmodified huggingface_hub."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from generation.hub import chosen_files, download, is_hub_id
from generation.model import ModelError, load_model

COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """Serves one repository, `studio/tiny`, from a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.folder = folder
        self.fetched: list[str] = []
        self.break_off = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def files(self) -> dict[str, bytes]:
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in paths}


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        files = self.server.files()
        if path.startswith("/studio/gated") or path.startswith("/api/models/studio/gated"):
            self.reply(403, b"{}", {"X-Error-Code": "GatedRepo"})
        elif path in (f"/api/models/studio/tiny/revision/{name}" for name in ("main", COMMIT)):
            siblings = [{"rfilename": name} for name in files]
            self.reply(200, json.dumps({"id": "studio/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith("/api/models/studio/tiny/revision/"):
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif path == f"/api/models/studio/tiny/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            self.reply(200, json.dumps(tree).encode())
        elif (name := path.removeprefix(f"/studio/tiny/resolve/{COMMIT}/")) in files:
            self.file(name, files[name], body)
        else:
            self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def file(self, name: str, content: bytes, body: bool) -> None:
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        if body:
            self.server.fetched.append(name)
            if self.server.break_off and name.endswith(".safetensors"):
                self.connection.close()
                return
        self.reply(200, content if body else b"", headers, length=len(content))

    def reply(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tiny_folder: Path, tmp_path: Path) -> Iterator[Hub]:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "served"))
    (folder / "unet/diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "unet/diffusion_pytorch_model.fp16.safetensors").write_bytes(b"half")
    (folder / "README.md").write_text("read me")
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def quiet(text: str, fraction: float | None) -> None:
    pass


def test_only_what_is_loaded_is_fetched(hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[str, float | None]] = []
    folder = download(
        "studio/tiny",
        half_precision=False,
        report=lambda text, fraction: told.append((text, fraction)),
        endpoint=hub.url,
        cache_dir=tmp_path / "cache",
    )
    assert capfd.readouterr().err == ""
    weights = {name for name in hub.fetched if name.endswith(".safetensors")}
    assert weights == {
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    }
    assert not any(name.endswith((".bin", ".md")) for name in hub.fetched)
    assert load_model(str(folder), device="cpu").info.family == "stable-diffusion"
    fractions = [fraction for text, fraction in told if text == "downloading studio/tiny" and fraction is not None]
    assert fractions
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1, abs=0.01)


def test_a_model_with_two_text_encoders(hub: Hub, tiny_xl_folder: Path, tmp_path: Path) -> None:
    hub.folder = tiny_xl_folder
    folder = download(
        "studio/tiny", half_precision=False, report=quiet, endpoint=hub.url, cache_dir=tmp_path / "cache"
    )
    assert "text_encoder_2/model.safetensors" in hub.fetched
    assert load_model(str(folder), device="cpu").info.family == "stable-diffusion-xl"


def test_an_inpainting_model_is_refused_before_its_weights(hub: Hub, tmp_path: Path) -> None:
    config = hub.folder / "unet/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": 9}))
    with pytest.raises(ModelError, match="“studio/tiny” is an inpainting model; choose one that"):
        download("studio/tiny", half_precision=False, report=quiet, endpoint=hub.url, cache_dir=tmp_path / "cache")
    assert all(name.endswith((".json", ".txt")) for name in hub.fetched)


def test_half_precision_files_are_preferred_for_a_gpu(hub: Hub, tmp_path: Path) -> None:
    download("studio/tiny", half_precision=True, report=quiet, endpoint=hub.url, cache_dir=tmp_path / "cache")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in hub.fetched
    assert "unet/diffusion_pytorch_model.safetensors" not in hub.fetched
    assert "vae/diffusion_pytorch_model.safetensors" in hub.fetched


def test_the_second_time_nothing_is_fetched_and_no_network_is_needed(hub: Hub, tmp_path: Path) -> None:
    where = {"endpoint": hub.url, "cache_dir": tmp_path / "cache", "report": quiet, "half_precision": False}
    first = download("studio/tiny", **where)
    hub.fetched.clear()
    assert download("studio/tiny", **where) == first
    assert hub.fetched == []
    offline = download("studio/tiny", **{**where, "endpoint": "http://127.0.0.1:1"})
    assert offline == first
    assert load_model(str(offline), device="cpu")


def test_a_revision_can_be_pinned(hub: Hub, tmp_path: Path) -> None:
    where = {"endpoint": hub.url, "cache_dir": tmp_path / "cache", "report": quiet, "half_precision": False}
    assert download(f"studio/tiny@{COMMIT}", **where).name == COMMIT
    with pytest.raises(ModelError, match="“studio/tiny” has no revision “nope”"):
        download("studio/tiny@nope", **where)


def test_no_network_and_nothing_cached(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the Hugging Face hub can't be reached") as caught:
        download(
            "studio/tiny",
            half_precision=False,
            report=quiet,
            endpoint="http://127.0.0.1:1",
            cache_dir=tmp_path / "cache",
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("studio/nothing", "neither a folder here nor a model on the"), ("studio/gated", "accept its terms")],
)
def test_models_that_are_not_to_be_had(hub: Hub, tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        download(name, half_precision=False, report=quiet, endpoint=hub.url, cache_dir=tmp_path / "cache")


def test_a_repository_of_pickles(hub: Hub, tmp_path: Path) -> None:
    for path in (hub.folder / "unet").glob("*.safetensors"):
        path.unlink()
    with pytest.raises(ModelError, match=r"no unet/\*\.safetensors; pickles"):
        download("studio/tiny", half_precision=False, report=quiet, endpoint=hub.url, cache_dir=tmp_path / "cache")
    assert all(name.endswith((".json", ".txt")) for name in hub.fetched)


@pytest.mark.parametrize(
    ("pipeline", "changes"),
    [
        ("KolorsPipeline", {"text_encoder": None, "text_encoder_2": ["transformers", "ChatGLMModel"]}),
        ("FluxPipeline", {"text_encoder_2": ["transformers", "T5EncoderModel"], "unet": None}),
        ("PixArtAlphaPipeline", {"unet": None}),
    ],
)
def test_other_kinds_are_refused_before_their_weights(
    hub: Hub, tmp_path: Path, pipeline: str, changes: dict[str, object]
) -> None:
    index = hub.folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": pipeline, **changes}))
    if "unet" in changes:
        shutil.rmtree(hub.folder / "unet")
    with pytest.raises(ModelError) as caught:
        download("studio/tiny", half_precision=False, report=quiet, endpoint=hub.url, cache_dir=tmp_path / "cache")
    kind = f"is not a Stable Diffusion 1.x, 2.x or XL model ({pipeline}); such models can't be drawn with yet."
    assert str(caught.value) == f"“studio/tiny” {kind}"
    assert "model_index.json" in hub.fetched
    assert all(name.endswith((".json", ".txt")) for name in hub.fetched)


def test_a_repository_without_an_index(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "model_index.json").unlink()
    with pytest.raises(ModelError, match=r"This repository is not a model .* it has no model_index\.json"):
        download("studio/tiny", half_precision=False, report=quiet, endpoint=hub.url, cache_dir=tmp_path / "cache")
    assert hub.fetched == []


def test_a_download_that_breaks_off(hub: Hub, tmp_path: Path) -> None:
    """One sentence; the next try goes on with what is there."""
    where = {"endpoint": hub.url, "cache_dir": tmp_path / "cache", "report": quiet, "half_precision": False}
    hub.break_off = True
    with pytest.raises(ModelError, match="The download of “studio/tiny” broke off; start again to go on"):
        download("studio/tiny", **where)
    hub.break_off = False
    assert load_model(str(download("studio/tiny", **where)), device="cpu")


@pytest.fixture
def checked_hub(hub: Hub, checked_folder: Callable[[float], Path]) -> Hub:
    """The same repository with a safety checker: weights, and a pickle of them."""
    folder = checked_folder(-2.0)
    for name in ("safety_checker", "feature_extractor"):
        shutil.copytree(folder / name, hub.folder / name)
    shutil.copy(folder / "model_index.json", hub.folder)
    (hub.folder / "safety_checker/pytorch_model.bin").write_bytes(b"a pickle")
    return hub


def test_a_safety_checker_is_fetched_where_it_is_asked_for(
    checked_hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = {"endpoint": checked_hub.url, "cache_dir": tmp_path / "cache", "report": quiet, "half_precision": False}
    offline = {**where, "endpoint": "http://127.0.0.1:1", "own_check": True}
    download("studio/tiny", **where)
    assert "safety_checker/model.safetensors" not in checked_hub.fetched
    with pytest.raises(ModelError, match=r"no weights .* in safety_checker/ of “studio/tiny”"):  # and not: unchecked
        load_model(str(download("studio/tiny", **offline)), device="cpu", own_check=True)
    download("studio/tiny", **where, own_check=True)
    assert "safety_checker/model.safetensors" in checked_hub.fetched
    assert not any(name.endswith(".bin") for name in checked_hub.fetched)
    assert capfd.readouterr().err == ""
    loaded = load_model(str(download("studio/tiny", **offline)), device="cpu", own_check=True)
    assert loaded.own_check is not None


def test_a_safety_checker_that_is_not_declared_or_not_there(checked_hub: Hub, tmp_path: Path) -> None:
    where = {"endpoint": checked_hub.url, "report": quiet, "half_precision": False, "own_check": True}
    index = checked_hub.folder / "model_index.json"
    declared = index.read_text()
    index.write_text(json.dumps({**json.loads(declared), "safety_checker": [None, None]}))
    folder = download("studio/tiny", **where, cache_dir=tmp_path / "null")
    assert "safety_checker/model.safetensors" not in checked_hub.fetched
    assert load_model(str(folder), device="cpu", own_check=True).own_check is None
    index.write_text(declared)
    shutil.rmtree(checked_hub.folder / "safety_checker")
    folder = download("studio/tiny", **where, cache_dir=tmp_path / "missing")
    assert load_model(str(folder), device="cpu", own_check=True).own_check is None


def test_a_safety_checker_that_is_a_pickle(checked_hub: Hub, tmp_path: Path) -> None:
    (checked_hub.folder / "safety_checker/model.safetensors").unlink()
    where = {"endpoint": checked_hub.url, "cache_dir": tmp_path / "cache", "report": quiet, "half_precision": False}
    with pytest.raises(ModelError, match=r"no safety_checker/\*\.safetensors; pickles"):
        download("studio/tiny", **where, own_check=True)
    assert all(name.endswith((".json", ".txt")) for name in checked_hub.fetched)


def test_what_is_a_hub_id() -> None:
    good = ["stabilityai/sd-turbo", "a/b", "a/b.c_d-e", "a/b@main", "a/b@" + COMMIT]
    bad = ["bundled", "./a/b", "/a/b", "a/b/c", "a", "a/", "../b", "a/b@", "C:\\models\\x", "a b/c", "~/models"]
    assert all(is_hub_id(source) for source in good)
    assert not any(is_hub_id(source) for source in bad)


def test_shards_and_their_index_come_together() -> None:
    names = ["model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "unet/other.json"]
    stem = "diffusion_pytorch_model"
    plain = [f"unet/{stem}-00001-of-00002.safetensors", f"unet/{stem}.safetensors.index.json"]
    half = [f"unet/{stem}.fp16-00001-of-00002.safetensors", f"unet/{stem}.safetensors.index.fp16.json"]
    rest = [f"vae/{stem}.safetensors", "text_encoder/model.safetensors", f"unet/{stem}.non_ema.safetensors"]
    everything = [*names, *plain, *half, *rest]
    expected = [*names[:3], "text_encoder/model.safetensors"]
    parts = ("text_encoder", "unet", "vae")
    assert chosen_files(everything, half_precision=False, parts=parts) == [*expected, *plain, rest[0]]
    assert chosen_files(everything, half_precision=True, parts=parts) == [*expected, *half, rest[0]]
