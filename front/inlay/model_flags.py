"""The flags of `inlay serve` that say how a model is computed, and what they become for a shard."""

import argparse

from inlay.model_folder import ModelFolder
from inlay_router.flags.numbers import positive
from inlay_shard.config import CUDA_GRAPHS, graph_sizes

_NUMBERS = {
    "num-blocks": "blocks of the KV pool (from free memory)",
    "max-batch-total-tokens": "the same in tokens: N / block size blocks",
    "block-size": "tokens of a block (32)",
    "num-threads": "CPU threads of a shard (cores / shards)",
    "image-workers": "processes of a shard that prepare images (a quarter of its cores)",
    "image-cache-bytes": "memory for embeddings of images that come again (from free memory)",
    "max-batch-images": "images that are embedded together (8)",
    "max-deaths": "deaths within a minute after which the server gives up (5)",
}
_DEFAULTS = {"block-size": 32, "max-batch-images": 8, "max-deaths": 5}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `inlay serve` takes of them."""
    group = parser.add_argument_group("model and shards")
    group.add_argument(
        "--num-shard", type=positive, default=1, metavar="N", help="processes to split it over (1)"
    )
    group.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="NAME",
        help="code of a model's author: a module, or the path of a .py file; repeatable "
        "(docs/adding-a-model.md)",
    )
    group.add_argument(
        "--dtype",
        choices=["auto", "float32", "bfloat16", "float16"],
        default="auto",
        help="type of weights and computation (auto: as stored; float32 for small models on a CPU)",
    )
    group.add_argument(
        "--quantize",
        type=quantization,
        metavar="int8",
        help="hold linear layers in 8 bits (one shard on a CPU; refused where it cannot be)",
    )
    group.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="where shards compute"
    )
    group.add_argument(
        "--cuda-graphs",
        type=graph_sizes,
        default=CUDA_GRAPHS,
        metavar="N,N,…",
        help=f"rows of decode steps from CUDA graphs; 0 for none ({CUDA_GRAPHS})",
    )
    for name, words in _NUMBERS.items():
        default = _DEFAULTS.get(name)
        group.add_argument(f"--{name}", type=positive, metavar="N", default=default, help=words)


def quantization(text: str) -> str:
    """The one of TGI's ways to hold weights in fewer bits that there is here."""
    if text != "int8":
        raise argparse.ArgumentTypeError(f"must be int8, the only one that is there. Given: {text}")
    return text


def to_command_line(
    options: argparse.Namespace, model: ModelFolder, rank: int, address: str
) -> tuple[str, ...]:
    """The command line of one rank."""
    values = {
        "model": model.path,
        "model-id": model.model_id,
        "address": address,
        "rank": rank,
        "num-shard": options.num_shard,
        "dtype": options.dtype,
        "device": options.device,
        "quantize": options.quantize,
        "block-size": options.block_size,
        "num-blocks": _num_blocks(options),
        "max-batch-tokens": options.max_batch_prefill_tokens,
        "cuda-graphs": ",".join(map(str, options.cuda_graphs)) or "0",
        "num-threads": options.num_threads,
        "grammar-backend": options.grammar_backend if options.has_grammars else None,
        "image-workers": options.image_workers,
        "image-cache-bytes": options.image_cache_bytes,
        "max-batch-images": options.max_batch_images,
    }
    given = [(name, value) for name, value in values.items() if value is not None]
    given += [("plugin", plugin) for plugin in options.plugin]
    words = ["--exit-with-parent", *(["--json-output"] if options.has_json_logs else [])]
    return (*words, *(word for name, value in given for word in (f"--{name}", str(value))))


def _num_blocks(options: argparse.Namespace) -> int | None:
    num_blocks: int | None = options.num_blocks
    if num_blocks is None and options.max_batch_total_tokens is not None:
        num_blocks = max(1, options.max_batch_total_tokens // options.block_size)
    return num_blocks
