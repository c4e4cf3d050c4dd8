"""What the operator chose for one shard, and its command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inlay_grammars.options import BACKEND_CHOICES, BackendChoice
from inlay_proto.transport import TlsFiles, TransportRefused, check_address, tls_files

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
DeviceName = Literal["auto", "cpu", "cuda"]
QuantizeName = Literal["int8"]

DEFAULT_STEP_TOKENS = {"cpu": 512, "cuda": 4096}
"""Tokens of the largest step, by device, unless the operator says otherwise: as for the router."""
CUDA_GRAPHS = "1,2,4,8,16,32"
"""Rows of the decode steps that come from CUDA graphs, as TGI has them."""
MAX_GRAPHS = 64
"""Each takes memory of the device."""
MAX_GRAPH_ROWS = 1024
"""Beyond this a step computes for longer than its Python takes."""


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """The choices of the operator for one shard."""

    model: Path
    """Folder of a `transformers` model with safetensors weights."""
    model_id: str
    """Name of the model, for people."""
    address: str
    """`unix:/path/of.sock` or `host:port`, where the shard is reached."""
    tls: TlsFiles | None = None
    """What is shown to routers and asked of them; None for socket files and loopback."""
    allows_plain_tcp: bool = False
    """Whether other machines may reach the shard without TLS."""
    plugins: tuple[str, ...] = ()
    """Code of model authors to load, beside what is installed; see `plugins.load_plugins`."""
    rank: int = 0
    """This shard's rank, in [0, num_shards)."""
    num_shards: int = 1
    """Ranks that the model is split over."""
    dtype: DtypeName = "auto"
    """Type of weights and computation; `model.choose_dtype` says what `auto` means."""
    quantize: QuantizeName | None = None
    """`int8`: linear layers of the text tower and the head are held in 8 bits, with a factor for
    each output. On the CPU, by one rank, for towers that are compiled as a whole; else refused."""
    device: DeviceName = "auto"
    """Where to compute; `auto` is a CUDA device if there is one."""
    block_size: int = 32
    """Tokens that one block of the KV pool holds; on the CPU a multiple of 32 is fastest."""
    num_blocks: int | None = None
    """Blocks of the KV pool; unset, as many as free memory sensibly allows."""
    max_batch_tokens: int | None = None
    """Tokens of the largest step, for which memory is left free; unset, what the router takes to
    suit the device."""
    cuda_graphs: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Rows of the decode steps that come from CUDA graphs, where there is CUDA; a batch takes the
    smallest that holds it. None: every step is computed by the model's code."""
    num_threads: int | None = None
    """CPU threads that compute; unset, the cores divided by the ranks."""
    grammar_backend: BackendChoice = "auto"
    """Backend of Outlines' that is made when the shard starts, so that one that is missing or
    broken is found then; which one compiles a grammar travels with the grammar."""
    image_cache_bytes: int | None = None
    """Memory for the embeddings of images that may be wanted again; unset, a part of what is free
    where the model computes."""
    num_image_workers: int | None = None
    """Processes that prepare images; unset, a quarter of the cores of a rank."""
    max_batch_images: int = 8
    """Images that are embedded together at most."""
    has_json_logs: bool = False
    """Whether what it says is JSON objects, one a line."""
    exits_with_parent: bool = False
    """Whether the end of standard input ends the shard."""


def parse_arguments(arguments: Sequence[str] | None = None) -> ShardConfig:
    """The configuration that a command line (by default this process's own) asks for."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return ShardConfig(
        model=options.model,
        model_id=options.model_id or str(options.model),
        address=options.address,
        tls=_tls(parser, options),
        allows_plain_tcp=options.allow_plain_tcp,
        plugins=tuple(options.plugin),
        rank=options.rank,
        num_shards=options.num_shard,
        dtype=options.dtype,
        quantize=options.quantize,
        device=options.device,
        block_size=options.block_size,
        num_blocks=options.num_blocks,
        max_batch_tokens=options.max_batch_tokens,
        cuda_graphs=options.cuda_graphs,
        num_threads=options.num_threads,
        grammar_backend=options.grammar_backend,
        image_cache_bytes=options.image_cache_bytes,
        num_image_workers=options.image_workers,
        max_batch_images=options.max_batch_images,
        has_json_logs=options.json_output,
        exits_with_parent=options.exit_with_parent,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inlay_shard", description="Serve one rank of a model to a router, by gRPC."
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="FOLDER", help="a model folder")
    add("--model-id", metavar="NAME", help="its name for people (the folder)")
    add("--address", required=True, help="unix:/path/of.sock or host:port")
    add("--tls-cert", type=Path, metavar="FILE", help="PEM, shown to routers")
    add("--tls-key", type=Path, metavar="FILE", help="PEM, of that certificate")
    add("--tls-ca", type=Path, metavar="FILE", help="PEM, of who signs routers' certificates")
    add("--allow-plain-tcp", action="store_true", help="let other machines in without TLS")
    add("--plugin", action="append", default=[], metavar="NAME", help="module, or path of a .py")
    add("--rank", type=int, default=0, help="this shard's rank (0)")
    add("--num-shard", type=_positive, default=1, metavar="N", help="ranks of the model (1)")
    add("--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto")
    add("--quantize", choices=["int8"], help="hold weights in 8 bits")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--block-size", type=_positive, default=32, metavar="N", help="tokens of a block (32)")
    add("--num-blocks", type=_positive, metavar="N", help="blocks of the pool (from free memory)")
    add("--max-batch-tokens", type=_positive, metavar="N", help="of a step (512; GPU: 4096)")
    graphs = f"rows of decode steps from CUDA graphs; 0 for none ({CUDA_GRAPHS})"
    add("--cuda-graphs", type=graph_sizes, default=CUDA_GRAPHS, metavar="N,N,…", help=graphs)
    add("--num-threads", type=_positive, metavar="N", help="CPU threads (cores / ranks)")
    add("--grammar-backend", choices=BACKEND_CHOICES, default="auto", help="made at start (auto)")
    add("--image-cache-bytes", type=_positive, metavar="N", help="embeddings (from free memory)")
    add("--image-workers", type=_positive, metavar="N", help="that prepare images (cores / 4)")
    add("--max-batch-images", type=_positive, default=8, metavar="N", help="embedded together (8)")
    add("--json-output", action="store_true", help="say what there is to say as JSON objects")
    add("--exit-with-parent", action="store_true", help="leave when standard input ends")
    return parser


def _tls(parser: argparse.ArgumentParser, options: argparse.Namespace) -> TlsFiles | None:
    try:
        tls = tls_files(options.tls_cert, options.tls_key, options.tls_ca)
        check_address(options.address, tls, allows_plain_tcp=options.allow_plain_tcp)
        if tls is not None:
            tls.read()
    except TransportRefused as refusal:
        parser.error(f"{refusal} (--tls-cert, --tls-key and --tls-ca, or --allow-plain-tcp)")
    return tls


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Given: {text}")
    return number


def graph_sizes(text: str) -> tuple[int, ...]:
    """Rows of CUDA graphs, ascending, from numbers between commas; none for 0.

    Raises ArgumentTypeError.
    """
    if text.strip() == "0":
        return ()
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise argparse.ArgumentTypeError(
            f"must be 0, or numbers of rows from 1 with commas between them. Given: {text}"
        )
    sizes = tuple(sorted({int(word) for word in words}))
    if len(sizes) > MAX_GRAPHS or sizes[-1] > MAX_GRAPH_ROWS:
        raise argparse.ArgumentTypeError(
            f"must be at most {MAX_GRAPHS} numbers of at most {MAX_GRAPH_ROWS} rows. "
            f"Given: {len(sizes)}, up to {sizes[-1]}"
        )
    return sizes
