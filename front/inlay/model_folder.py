"""Turns what the user calls a model into a folder on this machine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EMBEDDED_MODEL = Path(__file__).parent / "embedded_model"
"""The vision-language model that ships with inlay."""

NEEDED_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
"""What a server reads of a hub repository; weights in other formats stay there."""


class ModelNotFound(Exception):
    """The model is neither a folder nor a repository that can be had; the message says why."""


@dataclass(frozen=True, kw_only=True)
class ModelFolder:
    """A model and where it lies."""

    model_id: str
    """As clients see it: the hub id, or the folder as the user wrote it."""
    path: Path
    """Holds `config.json`."""


def find_model(name: str | None, revision: str | None) -> ModelFolder:
    """The embedded model when `name` is None, else a local folder, else a hub repository.

    A hub repository is downloaded (with progress) unless it is in the cache. Raises ModelNotFound.
    """
    if name is None:
        return ModelFolder(model_id="inlay/embedded", path=EMBEDDED_MODEL)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelNotFound(f"the folder {name} holds no config.json, so it is not a model")
        return ModelFolder(model_id=name, path=folder)
    if folder.is_file():
        raise ModelNotFound(f"{name} is a file; a model is a folder with config.json, or a hub id")
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelNotFound(f"there is no folder {name}")
    return ModelFolder(model_id=name, path=download(name, revision))


def download(repository: str, revision: str | None) -> Path:
    """The hub repository's files, from the cache or the network. Raises ModelNotFound."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = snapshot_download(
            repository, revision=revision, allow_patterns=NEEDED_FILES, token=_token(os.environ)
        )
    except HFValidationError as error:
        raise ModelNotFound(f"{repository} is neither a folder nor a hub id: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = f"{repository} is no folder here, and could not be downloaded: {error}"
        raise ModelNotFound(reason) from error
    return Path(path)


def _token(variables: Mapping[str, str]) -> str | None:
    """What TGI's users call the hub's token; None leaves it to the hub's own library."""
    if variables.get("HF_TOKEN"):
        return None
    others = (variables.get(name) for name in ("HUGGING_FACE_HUB_TOKEN", "HF_API_TOKEN"))
    return next(filter(None, others), None)
