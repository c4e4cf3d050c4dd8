"""The top floor: the engine for Python programs, the `inlay` command, the embedded model.

Names for programs are imported when they are first used: the command needs none of them.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inlay.llm.llm import LLM as LLM
    from inlay.llm.outputs import CompletionOutput as CompletionOutput
    from inlay.llm.outputs import Logprob as Logprob
    from inlay.llm.outputs import RequestOutput as RequestOutput
    from inlay.llm.sampling_params import SamplingParams as SamplingParams
    from inlay.llm.structured_outputs import GuidedDecodingParams as GuidedDecodingParams
    from inlay.llm.structured_outputs import StructuredOutputsParams as StructuredOutputsParams
    from inlay.offline.errors import EngineError as EngineError
    from inlay.offline.errors import RequestFailed as RequestFailed
    from inlay.offline.errors import RequestRefused as RequestRefused
    from inlay.pipelines.chat_templates import ChatTemplateConfig as ChatTemplateConfig
    from inlay.pipelines.configs import EngineConfig as EngineConfig
    from inlay.pipelines.configs import GenerationConfig as GenerationConfig
    from inlay.pipelines.configs import VisionConfig as VisionConfig
    from inlay.pipelines.load_image import load_image as load_image
    from inlay.pipelines.pipeline import Pipeline as Pipeline
    from inlay.pipelines.pipeline import pipeline as pipeline
    from inlay.pipelines.prompts import IMAGE_TOKEN as IMAGE_TOKEN
    from inlay.pipelines.response import Response as Response
    from inlay.pipelines.response import Session as Session

try:
    __version__ = version("inlay")
except PackageNotFoundError:  # running from a checkout that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "LLM": "inlay.llm.llm",
    "SamplingParams": "inlay.llm.sampling_params",
    "StructuredOutputsParams": "inlay.llm.structured_outputs",
    "GuidedDecodingParams": "inlay.llm.structured_outputs",
    "RequestOutput": "inlay.llm.outputs",
    "CompletionOutput": "inlay.llm.outputs",
    "Logprob": "inlay.llm.outputs",
    "EngineError": "inlay.offline.errors",
    "RequestRefused": "inlay.offline.errors",
    "RequestFailed": "inlay.offline.errors",
    "pipeline": "inlay.pipelines.pipeline",
    "Pipeline": "inlay.pipelines.pipeline",
    "Response": "inlay.pipelines.response",
    "Session": "inlay.pipelines.response",
    "EngineConfig": "inlay.pipelines.configs",
    "GenerationConfig": "inlay.pipelines.configs",
    "VisionConfig": "inlay.pipelines.configs",
    "ChatTemplateConfig": "inlay.pipelines.chat_templates",
    "load_image": "inlay.pipelines.load_image",
    "IMAGE_TOKEN": "inlay.pipelines.prompts",
}
"""The modules of the names for programs."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """A name for programs, from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
