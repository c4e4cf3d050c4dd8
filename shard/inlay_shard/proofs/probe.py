"""Proof at start-up that a model with our attention computes what it computes with its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.configuration_utils import PretrainedConfig

from inlay_shard.errors import ModelRefused
from inlay_shard.model.architecture import attention_kinds, text_config
from inlay_shard.model.attention import PAGED, attach, register
from inlay_shard.model.cache import AttentionLayer
from inlay_shard.model.network import Network
from inlay_shard.model.view import View

NUM_TOKENS = 24
"""Tokens of the probe."""
_TOLERANCES = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.2}
"""Largest difference of logits, in units of the largest logit."""


class _Recorder:
    """Plain causal attention over one short sequence that notes how a layer calls it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.num_calls = 0
        self.layer: AttentionLayer | None = None
        self.memory: tuple[Tensor, Tensor] | None = None
        """Keys and values, kept so that no other layer's can come to lie where they are."""
        self.sliding_window: int | None = None
        self.softcap: float | None = None

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scale: float,
        sliding_window: int | None,
        softcap: float | None,
        sinks: Tensor | None,
    ) -> Tensor:
        self.num_calls += 1
        self.memory = key, value
        self.sliding_window, self.softcap = sliding_window, softcap
        if key.shape[:2] != value.shape[:2] or len(key) != len(query):
            raise ModelRefused("its queries, keys and values differ in number, not supported")
        head_size = max(key.shape[-1], value.shape[-1])
        self.layer = AttentionLayer(
            module=self.module, num_kv_heads=key.shape[1], head_size=head_size
        )
        query, key, value = (entry.transpose(0, 1).unsqueeze(0) for entry in (query, key, value))
        output = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )
        return output[0].transpose(0, 1)


def probe_tokens(network: Network, num_tokens: int = NUM_TOKENS) -> tuple[Tensor, Tensor]:
    """Token ids (tokens,) spread over the vocabulary, and their positions (axes, tokens)."""
    token_ids = (torch.arange(num_tokens) * 7919 + 13) % network.num_embeddings
    if network.image_token_id is not None:
        token_ids[token_ids == network.image_token_id] = 0
    positions = torch.arange(num_tokens).expand(network.num_position_axes, -1)
    return token_ids.to(network.device), positions.to(network.device)


@torch.inference_mode()
def reference_logits(network: Network) -> Tensor:
    """Logits (NUM_TOKENS, vocab_size) of the probe by the model's own attention and positions."""
    token_ids, _ = probe_tokens(network)
    named: dict[str, Any] = {}
    if network.view is View.PROMPT:  # such a model sees all of a text too, as long as none is known
        square = torch.ones(len(token_ids), len(token_ids), dtype=torch.bool)
        named["attention_mask"] = square.tril()[None, None].to(network.device)
    output: Any = network.model(input_ids=token_ids.unsqueeze(0), use_cache=False, **named)
    logits: Tensor = output.logits[0]
    return logits


@torch.inference_mode()
def install(network: Network) -> list[AttentionLayer]:
    """Put our attention into the text tower and find its layers, in order.

    Raises ModelRefused when a layer of the tower has no attention of the kind that can be paged.
    """
    register()
    network.text_tower.set_attn_implementation(PAGED)
    recorders = [_Recorder(module) for module in _attention_modules(network.text_tower)]
    for recorder in recorders:
        attach(recorder.module, recorder)
    token_ids, positions = probe_tokens(network)
    network.logits(token_ids, positions, torch.zeros(1, dtype=torch.int64, device=network.device))
    called = [recorder for recorder in recorders if recorder.num_calls]
    _check_calls(network, called)
    return list(_layers(network, called))


def _layers(network: Network, called: list[_Recorder]) -> Iterator[AttentionLayer]:
    """What each layer caches; one that is handed the keys and values of another caches nothing."""
    sources: dict[tuple[int, ...], nn.Module] = {}
    kinds = _layer_kinds(text_config(network.config), len(called))
    for recorder, kind in zip(called, kinds, strict=True):
        assert recorder.layer is not None and recorder.memory is not None
        lies_at = tuple(entry.data_ptr() for entry in recorder.memory)
        source = sources.setdefault(lies_at, recorder.module)
        yield replace(
            recorder.layer,
            source=None if source is recorder.module else source,
            sees_ahead=network.sees_ahead(kind),
        )


def _attention_modules(tower: nn.Module) -> Iterator[nn.Module]:
    for module in tower.modules():
        if "Attention" in type(module).__name__:
            yield module


def _check_calls(network: Network, called: list[_Recorder]) -> None:
    text = text_config(network.config)
    kinds = attention_kinds(text)
    num_wanted = text.num_hidden_layers if kinds is None else len(kinds)
    if len(called) != num_wanted:
        raise ModelRefused(
            f"{len(called)} of its {num_wanted} layers use attention; a layer of another kind is "
            "not supported"
        )
    if any(recorder.num_calls != 1 for recorder in called):
        raise ModelRefused("its layers share their attention, which is not supported")
    for recorder, kind in zip(called, _layer_kinds(text, len(called)), strict=True):
        if kind == "sliding_attention" and recorder.sliding_window is None:
            raise ModelRefused("it slides its attention window in a way that is not supported")
        if getattr(text, "attn_logit_softcapping", None) and recorder.softcap is None:
            raise ModelRefused("it caps attention scores in a way that is not supported")


def _layer_kinds(text: PretrainedConfig, num_layers: int) -> list[str]:
    """Of the attention of each layer that has some."""
    kinds = attention_kinds(text)
    if kinds is not None:
        return kinds
    slides = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return ["sliding_attention" if slides else "full_attention"] * num_layers


def check_equal(reference: Tensor, ours: Tensor, dtype: torch.dtype) -> None:
    """Raise ModelRefused unless both logits (tokens, vocab_size) agree within the type's noise."""
    difference = float((reference.float() - ours.float()).abs().max())
    largest = float(reference.float().abs().max())
    if not difference <= _TOLERANCES[dtype] * largest:
        raise ModelRefused(
            "with paged attention it does not compute what transformers computes "
            f"(logits up to {largest:.3g} differ by {difference:.3g})"
        )


@contextmanager
def refusing_crashes(what: str) -> Iterator[None]:
    """Within, a crash of the modelling code is a ModelRefused. what: the model is tried with."""
    try:
        yield
    except ModelRefused:
        raise
    except Exception as error:
        raise ModelRefused(
            f"its modelling code fails with {what}: {type(error).__name__}: {error}"
        ) from error
