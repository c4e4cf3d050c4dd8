"""Text towers of the common kind as one compiled loop on the CPU, in place of their own code."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inlay_kernels import AttentionBatch, Likeliest
from inlay_kernels.compiled import as_array
from inlay_kernels.decoder import Decoder, Inputs, PackedTower, StreamedLinear
from inlay_shard.model.attention import attach, attached
from inlay_shard.model.network import Network, TowerAnswer
from inlay_shard.proofs.probe import probe_tokens
from inlay_shard.tower.recognition import (
    Call,
    find_norm,
    is_plain,
    layer_weights,
    linears,
    recognise,
    rotation,
)
from inlay_shard.tower.standing import StandingStep

Array: TypeAlias = NDArray[Any]

_TABLE_POSITIONS = 1 << 15
"""Positions whose rotation is kept; later ones are computed when they come."""
_FIXED_ROTATIONS = frozenset({"default", "linear", "llama3", "yarn"})
"""Kinds of rotation whose angle at a position depends on nothing else."""

_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Largest difference of logits, in units of the logits; both by the root of their mean square."""
_QUANTISED_TOLERANCE = 0.1
"""The same for weights in int8: docs/decisions/0025 has what was measured."""


@torch.inference_mode()
def fuse(
    network: Network, modules: Sequence[nn.Module], *, is_quantised: bool = False
) -> "FusedTower | None":
    """Run the text tower of a network as one compiled loop from now on, if it is recognised.

    Its weights move into a form of their own, layer by layer, so that none is held twice. The
    caller proves the result, by its logits.

    modules: of attention, in the order of the layers, with our attention attached.
    is_quantised: whether linear layers are held in int8, from which there is no way back.
    """
    calls = _calls(network, modules)
    shape = recognise(network.text_tower, calls)
    if shape is None:
        return None
    tower: Any = network.text_tower
    norm = find_norm(tower.norm)
    assert norm is not None
    dtype = linears(tower.layers[0])[0].weight.dtype
    packed = PackedTower(shape, dtype, norm.factors, is_quantised=is_quantised)
    for place, (layer, call) in enumerate(zip(tower.layers, calls, strict=True)):
        packed.put(place, layer_weights(layer, call))
        for linear in linears(layer):
            linear.weight = nn.Parameter(linear.weight.to("meta"), requires_grad=False)
    fused = FusedTower(tower, modules, packed, is_quantised=is_quantised)
    tower.__dict__["forward"] = fused
    return fused


class FusedTower:
    """Called instead of the forward pass of a text tower, whose weights it holds."""

    def __init__(
        self, tower: Any, modules: Sequence[nn.Module], packed: PackedTower, *, is_quantised: bool
    ) -> None:
        self.is_quantised = is_quantised
        """Whether linear layers are held in int8."""
        self._tower = tower
        self._modules = modules
        self._packed = packed
        self._decoder: Decoder | None = None
        self._key_cache: Tensor | None = None
        self._standing: StandingStep | None = None
        self._embeddings = _embedding_table(tower)
        self._table = _rotation_table(tower)

    def __call__(
        self,
        input_ids: Tensor | None = None,
        *,
        position_ids: Tensor,
        inputs_embeds: Tensor | None = None,
        **others: object,
    ) -> TowerAnswer:
        """Last hidden states of tokens (1, tokens), or of embeddings (1, tokens, hidden_size).

        position_ids: (1, tokens), or (axes, 1, tokens).
        """
        if inputs_embeds is None:
            inputs_embeds = self.embed(input_ids)
        hidden = self.hidden(inputs_embeds[0], position_ids.flatten(0, -2))
        return TowerAnswer(last_hidden_state=hidden.unsqueeze(0))

    def embed(self, token_ids: Tensor | None) -> Tensor:
        """Embeddings (…, hidden_size) of tokens (…,)."""
        embeddings: Tensor = self._tower.embed_tokens(token_ids)
        return embeddings

    def hidden(self, embeddings: Tensor, position_ids: Tensor) -> Tensor:
        """Last hidden states (tokens, hidden_size) of embeddings of the same shape.

        position_ids: (axes, tokens).
        """
        first: Any = attached(self._modules[0])
        decoder = self._decoder_over(first.key_cache)
        cosines, sines, positions = self._rotation(position_ids)
        turned = (torch.from_numpy(part[positions]) for part in (cosines, sines))
        return decoder(embeddings, first.current.batch, *turned)

    def rated(
        self,
        token_ids: Tensor,
        position_ids: Tensor,
        keep: Tensor,
        embeddings: Tensor | None,
        head: StreamedLinear,
        *,
        goes_on: bool = False,
    ) -> tuple[Tensor, Likeliest]:
        """What a head makes of the last hidden states of the tokens that `keep` names, in one go:
        (len(keep), outputs); and the likeliest token of each.

        Arguments as for `Network.rated`. When the very same tensors come again, they must be as
        before or one position further; answers are good until then.
        """
        first: Any = attached(self._modules[0])
        batch = first.current.batch
        given = (first.key_cache, batch, token_ids, position_ids, keep, embeddings, head)
        again = (
            None if self._standing is None else self._standing.rated_again(given, goes_on=goes_on)
        )
        return again or self._rated_anew(given, *given[1:], goes_on=goes_on)

    def _rated_anew(
        self,
        given: Sequence[object],
        batch: AttentionBatch,
        token_ids: Tensor,
        position_ids: Tensor,
        keep: Tensor,
        embeddings: Tensor | None,
        head: StreamedLinear,
        *,
        goes_on: bool,
    ) -> tuple[Tensor, Likeliest]:
        """Of a step that does not follow the one before."""
        first: Any = attached(self._modules[0])
        decoder = self._decoder_over(first.key_cache)
        inputs = Inputs(*self._begin(token_ids, embeddings), *self._rotation(position_ids))
        num_left = 0
        if self._is_read_from_tables(inputs) and head.out_features <= len(inputs.embeddings):
            num_left = _TABLE_POSITIONS - 1 - int(inputs.positions.max())
        self._standing = StandingStep(given, decoder.stand(inputs, batch, keep, head), num_left)
        return self._standing.rated(goes_on=goes_on)

    def _is_read_from_tables(self, inputs: Inputs) -> bool:
        """Whether what tokens begin with is looked up by the numbers of token and position."""
        return self._table is not None and (
            inputs.embeddings is self._embeddings and inputs.cosines is self._table[0]
        )

    def agrees(self, reference: Tensor, ours: Tensor) -> bool:
        """Whether its logits (tokens, vocab_size) are the reference, but for noise."""
        difference = (reference.float() - ours.float()).square().mean().sqrt()
        size = reference.float().square().mean().sqrt()
        tolerance = _QUANTISED_TOLERANCE if self.is_quantised else _TOLERANCES[reference.dtype]
        return bool(difference <= tolerance * size)

    @torch.inference_mode()
    def undo(self) -> None:
        """Give the tower its code and its weights back; not those of int8."""
        del self._tower.__dict__["forward"]
        for place, layer in enumerate(self._tower.layers):
            weights = self._packed.projections(place)
            for linear, weight in zip(linears(layer), weights, strict=True):
                linear.weight = nn.Parameter(weight, requires_grad=False)

    def _decoder_over(self, key_cache: Tensor) -> Decoder:
        """Over the pool that is attached now: at start-up a small one comes first.

        key_cache: that of the first layer.
        """
        if self._decoder is None or self._key_cache is not key_cache:
            self._key_cache, self._standing = key_cache, None
            layers: list[Any] = [attached(module) for module in self._modules]
            caches = [(layer.key_cache, layer.value_cache) for layer in layers]
            self._decoder = Decoder(self._packed, caches)
        return self._decoder

    def _begin(self, token_ids: Tensor, embeddings: Tensor | None) -> tuple[Array, Array]:
        """Embeddings of tokens (tokens,), as a table and the rows that are theirs."""
        if embeddings is None and self._embeddings is not None:
            rows = token_ids.numpy()
            if rows.max() < len(self._embeddings):  # compiled code does not check what it looks up
                return self._embeddings, rows
        embeddings = self.embed(token_ids) if embeddings is None else embeddings
        return as_array(embeddings.contiguous()), np.arange(len(embeddings))

    def _rotation(self, position_ids: Tensor) -> tuple[Array, Array, Array]:
        """Of positions (axes, tokens): cosines and sines (n, rotary_size), as tables, and the rows
        that are the tokens'."""
        if self._table is not None and len(position_ids) == 1:
            (positions,) = position_ids.numpy()
            if positions.max() < _TABLE_POSITIONS:
                return *self._table, positions
        cosines, sines = rotation(self._tower, position_ids)
        return cosines.float().numpy(), sines.float().numpy(), np.arange(len(cosines))


@torch.inference_mode()
def stream_head(network: Network, *, is_quantised: bool = False) -> None:
    """Let the head of a network read its weight in order. One that is tied to the embedding is in
    memory twice from then on, as an embedding must be found by its row.

    is_quantised: whether the head is held in int8.
    """
    head = network.model.get_output_embeddings()
    for module in list(network.model.modules()):
        for name, child in module.named_children():
            if child is head and is_plain(child):
                setattr(module, name, StreamedLinear(child, is_quantised=is_quantised))


@dataclass(slots=True)
class _Noter:
    """Notes how attention is called, and answers zeros."""

    calls: list[Call]

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
        call = Call(
            num_heads=query.shape[1],
            num_kv_heads=key.shape[1],
            head_size=query.shape[2],
            value_size=value.shape[2],
            scale=scale,
            window=sliding_window,
            is_plain=softcap is None and sinks is None and scale > 0,
        )
        self.calls.append(call)
        return query.new_zeros(*query.shape[:2], value.shape[2])


def _calls(network: Network, modules: Sequence[nn.Module]) -> list[Call]:
    """How each layer calls attention, in order."""
    calls: list[Call] = []
    before = [attached(module) for module in modules]
    for module in modules:
        attach(module, _Noter(calls))
    token_ids, positions = probe_tokens(network, 2)
    network.logits(token_ids, positions, torch.zeros(1, dtype=torch.int64))
    for module, attend in zip(modules, before, strict=True):
        attach(module, attend)
    return calls


def _embedding_table(tower: Any) -> Array | None:
    """Embeddings (tokens, hidden_size); None where more than a look-up makes them."""
    embedding = tower.embed_tokens
    if type(embedding) is not nn.Embedding or embedding.max_norm is not None:
        return None
    if embedding._forward_hooks or embedding._forward_pre_hooks:
        return None
    is_known = embedding.weight.dtype in _TOLERANCES and embedding.weight.is_contiguous()
    return as_array(embedding.weight.detach()) if is_known else None


def _rotation_table(tower: Any) -> tuple[Array, Array] | None:
    """Cosines and sines (positions, rotary_size); None where they may depend on other things."""
    if getattr(tower.rotary_emb, "rope_type", None) not in _FIXED_ROTATIONS:
        return None
    cosines, sines = rotation(tower, torch.arange(_TABLE_POSITIONS).unsqueeze(0))
    return cosines.float().numpy(), sines.float().numpy()
