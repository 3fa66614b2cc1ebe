"""Fetch a model from the Hugging Face hub: only the files that are loaded, and never a pickle."""

from __future__ import annotations

import re
import threading
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from huggingface_hub import DryRunFileInfo, snapshot_download
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from generation.layout import (
    CHECKER,
    WEIGHT_FOLDERS,
    ModelError,
    choose_variant,
    declares_checker,
    folder_layout,
    is_weight_file,
    reason_of,
    weight_folders,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Bar = tqdm[Any]
else:
    Bar = tqdm  # not subscriptable when it runs

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")
_SMALL_FILES: Final = (
    "model_index.json",
    "atelier.json",
    "scheduler/*.json",
    "tokenizer/*.json",
    "tokenizer/*.txt",
    "tokenizer_2/*.json",
    "tokenizer_2/*.txt",
    "feature_extractor/*.json",
    # The checker's too where it is not asked for: a folder without weights is noticed when it is, also offline.
    *(f"{part}/config.json" for part in (*WEIGHT_FOLDERS, CHECKER)),
)
_WEIGHT_FILES: Final = tuple(
    f"{part}/*.safetensors{ending}" for part in (*WEIGHT_FOLDERS, CHECKER) for ending in ("", ".index*.json")
)


def is_hub_id(source: str) -> bool:
    """Is this `organisation/name`, with or without `@revision`?"""
    return _HUB_ID.fullmatch(source) is not None


def download(
    source: str,
    *,
    half_precision: bool,
    report: Callable[[str, float | None], None],
    own_check: bool = False,
    endpoint: str | None = None,
    cache_dir: Path | None = None,
) -> Path:
    """The folder of `organisation/name[@revision]` in the local cache, fetched as far as it is not there.

    Without a network the cache is used as it is. With `half_precision` the fp16 files are taken where the
    repository has them; with `own_check` also the model's own safety checker where it declares one.

    Raises:
        ModelError: one sentence: no such model, not allowed, no network, the download broke off.
    """
    repo_id, _, revision = source.partition("@")
    where: dict[str, Any] = {"repo_id": repo_id, "revision": revision or None}
    where |= {"endpoint": endpoint, "cache_dir": cache_dir}
    report(f"looking for {source}", None)
    try:
        offered = _offered(where)
        if offered is None:
            # Weights are judged when they are loaded: of the two precisions only one was ever fetched.
            return Path(snapshot_download(**where, allow_patterns=[*_SMALL_FILES], local_files_only=True))
        folder = _fetch_small_files(where, offered)
        layout = folder_layout(folder)  # refused before the weights, which can be many gigabytes
        parts = weight_folders(layout.family)
        parts += _checker(folder, offered) if own_check else ()
        names = chosen_files([file.filename for file in offered], half_precision=half_precision, parts=parts)
        weights = [file for file in offered if file.filename in names and not _is_small(file.filename)]
        missing = [file for file in weights if file.will_download]
        bar = _reporting_bar(f"downloading {source}", sum(file.file_size or 0 for file in missing), report)
        return Path(snapshot_download(**where, allow_patterns=names, tqdm_class=bar))
    except GatedRepoError as error:
        ask = f"accept its terms on its page and log in with a token (HF_TOKEN): huggingface.co/{repo_id}"
        raise ModelError(f"“{repo_id}” is only for people who asked for it; {ask}.") from error
    except RevisionNotFoundError as error:
        raise ModelError(f"“{repo_id}” has no revision “{revision}”.") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"“{repo_id}” is neither a folder here nor a model on the Hugging Face hub.") from error
    except LocalEntryNotFoundError as error:
        why = "the Hugging Face hub can't be reached and it is not (completely) in the local cache"
        raise ModelError(f"“{source}” can't be loaded: {why}.") from error
    except ModelError:
        raise
    except Exception as error:  # the HTTP client under huggingface_hub has changed before, and its errors
        reason = reason_of(error, cache_dir or Path(HF_HUB_CACHE))
        raise ModelError(f"The download of “{source}” broke off; start again to go on: {reason}") from error


def chosen_files(names: list[str], *, half_precision: bool, parts: tuple[str, ...]) -> list[str]:
    """Of a repository's files, those that are loaded: small ones, and one set of weights for each of `parts`.

    Raises:
        ModelError: a part has no safetensors.
    """
    chosen = [name for name in names if _is_small(name)]
    for part in parts:
        files = [PurePosixPath(name) for name in names if name.startswith(f"{part}/")]
        variant = choose_variant([file.name for file in files], prefer_fp16=half_precision)
        if variant is None:
            raise ModelError(f"This repository has no {part}/*.safetensors; pickles (.bin) are not loaded.")
        chosen += [str(file) for file in files if is_weight_file(file.name, variant)]
    return chosen


def _offered(where: dict[str, Any]) -> list[DryRunFileInfo] | None:
    """The files of a repository that could be of use; None where the hub can't be asked."""
    wanted = [*_SMALL_FILES, *_WEIGHT_FILES]
    try:
        return snapshot_download(**where, allow_patterns=wanted, dry_run=True, tqdm_class=_silent_bar())
    except DryRunError as error:
        if isinstance(error.__cause__, RepositoryNotFoundError):
            raise error.__cause__ from error
        return None


def _is_small(name: str) -> bool:
    return any(PurePosixPath(name).match(small) for small in _SMALL_FILES)


def _fetch_small_files(where: dict[str, Any], offered: list[DryRunFileInfo]) -> Path:
    if all(file.filename != "model_index.json" for file in offered):
        raise ModelError("This repository is not a model in the diffusers layout: it has no model_index.json.")
    return Path(snapshot_download(**where, allow_patterns=[*_SMALL_FILES], tqdm_class=_silent_bar()))


def _checker(folder: Path, offered: list[DryRunFileInfo]) -> tuple[str, ...]:
    """The safety checker's folder, where it is there and `model_index.json` names it."""
    if not any(file.filename.startswith(f"{CHECKER}/") for file in offered):
        return ()
    return (CHECKER,) if declares_checker(folder) else ()


def _silent_bar() -> type[Bar]:
    return _reporting_bar("", 0, lambda text, fraction: None)


def _reporting_bar(text: str, total: int, report: Callable[[str, float | None], None]) -> type[Bar]:
    """A progress bar that is never drawn: it adds up what arrives, from all download threads."""
    lock = threading.Lock()
    arrived: dict[int, float] = {}

    class ReportingBar(Bar):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._counts_bytes = kwargs.get("unit") == "B"
            kwargs["disable"] = True
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            if self._counts_bytes:
                with lock:
                    arrived[id(self)] = arrived.get(id(self), 0) + (n or 0)
                    done = max(arrived.values())  # bytes received and bytes written are two bars
                report(text, min(done / total, 1.0) if total else None)
            return None

    return ReportingBar
