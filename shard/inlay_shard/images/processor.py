"""The model's own processor, with PIL alone where torchvision is missing."""

import hashlib
import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils.import_utils import DummyObject
from transformers.video_processing_utils import VideoProcessorMixin

_FILES = ("processor_config.json", "preprocessor_config.json", "tokenizer.json", "config.json")


def load_processor(folder: Path) -> Any | None:
    """The processor of a model folder; None when it has none that takes images."""
    _provide_pixtral_helper()
    try:
        processor = AutoProcessor.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except (ValueError, ImportError, RecursionError):  # it looks for its part for videos in itself
        if _has_torchvision():
            raise
        processor = _load_without_video(folder)
    return processor if hasattr(processor, "image_processor") else None


def settings_digest(folder: Path) -> bytes:
    """SHA-256 over the files that decide what the processor makes of an image."""
    digest = hashlib.sha256()
    for name in _FILES:
        path = folder / name
        digest.update(path.read_bytes() if path.is_file() else b"")
        digest.update(b"\0")
    return digest.digest()


def _has_torchvision() -> bool:
    return importlib.util.find_spec("torchvision") is not None


def _load_without_video(folder: Path) -> Any:
    """A processor whose part for videos needs torchvision, without that part."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    known = _processor_class(folder, config)
    get_arguments: Any = _arguments
    kind: Any = type(
        known.__name__,
        (known,),
        {
            "_get_arguments_from_pretrained": classmethod(get_arguments),
            "check_argument_for_proper_class": _check_class(known),
        },
    )
    _provide_num2words(known)
    return kind.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def _processor_class(folder: Path, config: Any) -> Any:
    """The processor of a model type, past the stand-in that says that torchvision is missing."""
    known: Any = _named_processor_class(folder)
    if known is None and type(config) in PROCESSOR_MAPPING:
        known = PROCESSOR_MAPPING[type(config)]
    if known is None:
        raise ValueError(f"transformers has no processor for models of type {config.model_type}")
    if not isinstance(known, DummyObject):
        return known
    package = known.__name__.removesuffix("Processor").lower()
    module = importlib.import_module(f"transformers.models.{package}.processing_{package}")
    return getattr(module, known.__name__)


def _named_processor_class(folder: Path) -> Any | None:
    """What the model folder itself names."""
    path = folder / "processor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return getattr(transformers, settings.get("processor_class") or "", None)


class _NoVideo(VideoProcessorMixin):
    """Stands where a processor wants its part for videos."""


def _arguments(kind: Any, folder: Path, settings: Any = None, **options: Any) -> list[Any]:
    """What the constructor of the processor takes, in order."""
    auto: dict[str, Any] = {"tokenizer": AutoTokenizer, "image_processor": AutoImageProcessor}
    return [
        auto[name].from_pretrained(folder, **options) if name in auto else _NoVideo()
        for name in kind.get_attributes()
    ]


def _check_class(known: Any) -> Any:
    def check_argument_for_proper_class(processor: Any, name: str, argument: Any) -> Any:
        if isinstance(argument, _NoVideo):
            return _NoVideo
        return known.check_argument_for_proper_class(processor, name, argument)

    return check_argument_for_proper_class


def _provide_num2words(known: Any) -> None:
    """SmolVLM's processor wants num2words to be there, and uses it for videos alone."""
    module: Any = sys.modules[known.__module__]
    if getattr(module, "num2words", str) is None:
        module.num2words = str


def _provide_pixtral_helper() -> None:
    """Pixtral's processor takes one function from a module that cannot be imported on PIL alone."""
    name = "transformers.models.pixtral.image_processing_pixtral"
    if _has_torchvision() or name in sys.modules:
        return
    source = importlib.import_module("transformers.models.pixtral.image_processing_pil_pixtral")
    module: Any = types.ModuleType(name)
    module.get_resize_output_image_size = source.get_resize_output_image_size
    sys.modules[name] = module
