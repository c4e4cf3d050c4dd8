"""Loading a model folder, with the attention that it came with."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from inlay_shard.config import DtypeName, ShardConfig
from inlay_shard.errors import ModelRefused, naming_type
from inlay_shard.model import architecture
from inlay_shard.model.network import Network
from inlay_shard.model.plugins import find_adapter, load_plugins
from inlay_shard.model.weights import read_weights

SMALL_MODEL_BYTES = 64 << 20
"""Weights below this are computed in float32 on CPU: nothing is gained by less."""

PROGRESS_SECONDS = 2.0
"""Between two lines about the weights."""

Report = Callable[[str], None]
"""Told what is being done, in words."""


def choose_device(name: str, rank: int) -> torch.device:
    """The device of a rank. Raises ModelRefused when it is not there."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ModelRefused("--device cuda: there is no CUDA device")
    if rank >= torch.cuda.device_count():
        raise ModelRefused(
            f"rank {rank} needs a CUDA device of its own; there are {torch.cuda.device_count()}"
        )
    return torch.device("cuda", rank)


def choose_dtype(
    name: DtypeName, stored: torch.dtype | None, num_bytes: int, device: torch.device
) -> torch.dtype:
    """The type to compute in.

    auto: on CUDA as stored. On CPU float32, except for a large model stored in 16 bits on a CPU
    that computes in bfloat16.

    Args:
        name: the operator's choice.
        stored: type of the weights on disk, as far as the configuration says.
        num_bytes: weights on disk.
        device: where to compute.
    """
    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    stored = stored or torch.float32
    if device.type == "cuda" or stored == torch.float32:
        return stored
    has_bfloat16 = bool(torch.cpu._is_avx512_bf16_supported())
    is_large = num_bytes > SMALL_MODEL_BYTES
    return torch.bfloat16 if is_large and has_bfloat16 else torch.float32


def load(config: ShardConfig, device: torch.device, report: Report) -> Network:
    """Load the model with the attention that it came with.

    With several ranks `torch.distributed` must be up. Raises ModelRefused.
    """
    load_plugins(config.plugins)
    model_config = architecture.read_config(config.model)
    with naming_type(model_config.model_type):
        architecture.check(model_config, config.num_shards)
        loader = architecture.auto_class(model_config)
    num_bytes = sum(path.stat().st_size for path in config.model.glob("*.safetensors"))
    stored: Any = model_config.dtype
    dtype = choose_dtype(config.dtype, stored, num_bytes, device)
    with quiet(), weights_progress(report):
        model = read_weights(loader, model_config, config, dtype, device)
    model.eval().requires_grad_(False)
    network = Network(model, find_adapter(config.model, config.plugins))
    with naming_type(model_config.model_type):
        _check_code(network)
    return network


def _check_code(network: Network) -> None:
    """Raise ModelRefused for modelling code that our attention cannot be put into."""
    kind = type(network.text_tower).__name__
    if not isinstance(network.text_tower, PreTrainedModel):
        raise ModelRefused(f"its decoder is a {kind}, not a text tower of transformers")
    is_stateful = network.model._is_stateful or network.text_tower._is_stateful
    if is_stateful and not architecture.num_recurrent_layers(
        architecture.text_config(network.config)
    ):
        raise ModelRefused(f"{kind} keeps a recurrent state, which is not supported")
    if not network.text_tower._can_set_attn_implementation():
        raise ModelRefused(f"{kind} does not call attention through transformers' interface")


@contextmanager
def quiet() -> Iterator[None]:
    """Within, `transformers` says nothing below an error."""
    transformers_logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def weights_progress(report: Report) -> Iterator[None]:
    """Within, the progress bars of `transformers` become a line every now and then."""
    previous = transformers_logging.set_tqdm_hook(
        lambda factory, arguments, named: _Progress(report, *arguments, **named)
    )
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(previous)


class _Progress:
    """Stands in for a progress bar over an iterable."""

    def __init__(self, report: Report, iterable: Iterable[Any] = (), **others: object) -> None:
        self._report = report
        self._iterable = iterable
        self._total = len(iterable) if isinstance(iterable, Sized) else 0
        self._next_report = time.monotonic() + PROGRESS_SECONDS

    def __iter__(self) -> Iterator[Any]:
        for num_done, entry in enumerate(self._iterable):
            if self._total and time.monotonic() > self._next_report:
                self._next_report = time.monotonic() + PROGRESS_SECONDS
                self._report(f"loading weights {100 * num_done // self._total} %")
            yield entry

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *arguments: object) -> None:
        """Nothing to clean up."""

    def update(self, num_more: int = 1) -> None:
        """Not shown: what is counted by hand is short."""
