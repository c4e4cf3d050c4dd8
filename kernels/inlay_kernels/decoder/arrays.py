"""What the compiled tower reads and writes, as tuples of arrays that Numba knows.

Let L be layers, T tokens, R rows (sequences), and H the hidden size in whole panels. An *operand*
is what linear layers multiply: bfloat16 bits where the processor has products of them and weights
are not float32, else float32. The four linear layers of a layer are those of LINEARS, in order.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LINEARS: Final = ("query_key_value", "output", "gate_up", "down")

Array = NDArray[Any]


class Shape(NamedTuple):
    """Sizes and constants that all layers share."""

    num_layers: int
    hidden_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    rotary_size: int
    """Leading part of a head that is rotated."""
    intermediate_size: int
    epsilon: np.float32
    """Of the norms over hidden states."""
    head_epsilon: np.float32
    """Of the norms over heads."""
    has_head_norms: bool
    has_gelu: bool
    """Whether gates are bent by the tanh form of GELU, instead of SiLU."""


class Weights(NamedTuple):
    """A tower's weights."""

    packed: Array
    """Flat: for each layer its four linear layers, packed one after the other."""
    starts: Array
    """int64 (5,): where each linear layer begins within its layer's part, then the part's size."""
    scales: Array
    """float32 (L, outputs of the four linear layers, in whole panels): factors of outputs."""
    biases: Array
    """float32, the same shape: what is added to outputs."""
    columns: Array
    """int64 (5,): where each linear layer begins in a row of `scales` and `biases`."""
    norms: Array
    """float32 (2 L + 1, H): before attention and before the MLP of each layer, then the last."""
    head_norms: Array
    """float32 (L, 2, head_size): of queries and of keys."""
    attention_scales: Array
    """float32 (L,): factor of attention scores."""
    windows: Array
    """int64 (L,): how many tokens a token sees, its own included; 0 means all."""


class Inputs(NamedTuple):
    """What tokens begin with, as rows of tables."""

    embeddings: Array
    """float32 or bfloat16 bits (n, hidden_size)."""
    token_ids: Array
    """int64 (T,): the row of `embeddings` that is each token's; in range."""
    cosines: Array
    """float32 (m, rotary_size), of the rotation."""
    sines: Array
    """float32 (m, rotary_size)."""
    positions: Array
    """int64 (T,): the row of `cosines` and `sines` that is each token's; in range."""


class Batch(NamedTuple):
    """One flattened batch; as `AttentionBatch` says."""

    row_starts: Array
    context_lengths: Array
    block_tables: Array
    slots: Array
    stops: Array
    """int32 (T,), or (0,) when each token sees itself and what is before it."""


class Kept(NamedTuple):
    """Where last hidden states go, of K tokens, and the N that go on to the end of the last layer:
    those of each row from the first on that is kept, as `tokens_from_kept` finds them."""

    tokens: Array
    """int64 (N,): tokens that go on, in order."""
    batch: Batch
    """Of these tokens alone, as the last ones of their rows."""
    places: Array
    """int64 (K,): the kept tokens among those that go on."""
    hidden: Array
    """Operand (K, stride)."""
    number: Array
    """Empty, in the type that hidden states are rounded to."""


class Head(NamedTuple):
    """A linear layer for V outputs."""

    packed: Array
    """Flat: its weight, as `packing` lays it out."""
    scales: Array
    """float32 (V in whole panels,): factors of outputs."""
    biases: Array
    """float32, the same shape: what is added to outputs."""


class Rating(NamedTuple):
    """The likeliest tokens of K rows of logits, as `Likeliest` says, of two runs in turn; S parts
    of a row are summed up apart."""

    token_ids: Array
    """int64 (2, K)."""
    logprobs: Array
    """float32 (2, K)."""
    normalisers: Array
    """float32 (2, K)."""
    tops: Array
    """float32 (2, K): the highest logits."""
    part_tops: Array
    """float32 (K, S): the highest logit of each part."""
    part_totals: Array
    """float32 (K, S): sums of exp(logit - the highest) over each part."""


class Cache(NamedTuple):
    """Where keys and values of all layers lie, as `cache_layout` says."""

    addresses: Array
    """int64 (L, 2): of each layer's keys and values."""
    num_numbers: int
    """In the keys of a layer, and in its values."""
    block_size: int
    """Positions of a block, in whole panels."""
    width: int
    """Numbers of a head in the cache, in whole panels."""


class Buffers(NamedTuple):
    """What the phases hand to one another."""

    hidden: Array
    """float32 (T, H): the hidden states."""
    squares: Array
    """float32 (T, H / PANEL): sums of their squares over each panel."""
    x: Array
    """Operand (T, stride): hidden states times the weights of the next norm."""
    qkv: Array
    """float32 (T, width): queries, keys and values of all heads."""
    query: Array
    """(T, heads, head_size), in the cache's type: rotated queries."""
    attended: Array
    """Operand (T, stride): what attention gave."""
    activation: Array
    """Operand (T, stride): between the two halves of the MLP."""
