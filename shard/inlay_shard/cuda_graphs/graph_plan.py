"""Which decode steps are to come from CUDA graphs, and the memory to leave for that."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from inlay_kernels import Kernels
from inlay_shard.cuda_graphs.recording import CannotRecord, Recorder, find_recorder, first_line
from inlay_shard.cuda_graphs.static_inputs import StaticInputs, over
from inlay_shard.machine.memory import measured
from inlay_shard.machine.parallel import Ranks
from inlay_shard.model.architecture import max_positions
from inlay_shard.model.cache import MAX_POOL_TOKENS, AttentionLayer, KVPool, bytes_per_block
from inlay_shard.model.loading import Report
from inlay_shard.model.network import Network

_BYTES_OF_ONE = 32 << 20
"""Memory of one graph's nodes. An upper guess."""
_BYTES_OF_ALL = 64 << 20
"""Memory of all graphs: the workspace of cuBLAS on their stream. An upper guess."""
_SHARE_OF_PEAK = 2
"""The largest step's peak, times this, is left for the pool that graphs share: it cannot take
blocks of other sizes from the pool of ordinary steps."""

_WORD_BYTES = 4
"""Of a logit, in any type, and of a block's number."""


@dataclass(frozen=True, kw_only=True)
class GraphPlan:
    """What is decided about graphs before there is a pool."""

    recorder: Recorder | None = None
    """None when no step is to come from a graph."""
    sizes: tuple[int, ...] = ()
    """Rows of the graphs, ascending; a batch takes the smallest that holds it."""
    num_bytes: int = 0
    """Memory to leave for them: on the device, beside the pool and the largest step."""
    num_scratch_blocks: int = 0
    """Blocks behind those of the pool, for rows without a sequence."""


NO_GRAPHS = GraphPlan()
"""Every step is computed by the model's code."""


@torch.inference_mode()
def plan_graphs(
    network: Network,
    kernels: Kernels,
    layers: Sequence[AttentionLayer],
    ranks: Ranks,
    report: Report,
    *,
    sizes: Sequence[int],
    block_size: int,
    vocab_size: int,
) -> GraphPlan:
    """Try a decode step as it will be recorded, where that is possible.

    Attaches a pool of its own to the layers; the one that stays is to be attached afterwards.
    """
    recorder = find_recorder(network.device, kernels) if sizes else None
    if recorder is None:
        if sizes and network.device.type == "cuda":
            report("no CUDA graphs: Triton is not installed (the extra `gpu` brings it)")
        return NO_GRAPHS
    largest = max(sizes)
    num_scratch_blocks = -(-largest // block_size)
    pool = KVPool(
        layers,
        kernels,
        num_blocks=0,
        num_scratch_blocks=num_scratch_blocks,
        block_size=block_size,
        dtype=network.dtype,
        device=network.device,
    )
    inputs = StaticInputs(largest, pool, num_axes=network.num_position_axes, table_width=1)
    reason = ""
    with measured(network.device) as peak:
        try:
            recorder.rehearse(over(inputs, network.logits, pool))
        except CannotRecord as failure:
            reason = str(failure)
        except Exception as error:  # out of memory, say: decoding goes on without
            reason = first_line(error)
    if not ranks.least(torch.tensor([not reason], dtype=torch.int32)).item():
        report(f"no CUDA graphs: {reason or 'another rank cannot record'}")
        return NO_GRAPHS
    num_bytes = _SHARE_OF_PEAK * peak.num_bytes + _BYTES_OF_ALL + len(sizes) * _BYTES_OF_ONE
    num_bytes += num_scratch_blocks * bytes_per_block(layers, block_size, network.dtype)
    num_bytes += sum(sizes) * (vocab_size + _table_width(network, block_size)) * _WORD_BYTES
    return GraphPlan(
        recorder=recorder,
        sizes=tuple(sorted(set(sizes))),
        num_bytes=num_bytes,
        num_scratch_blocks=num_scratch_blocks,
    )


def _table_width(network: Network, block_size: int) -> int:
    """Blocks of a row at most, whatever the size of the pool."""
    longest = max_positions(network.config) or MAX_POOL_TOKENS["cuda"]
    return -(-longest // block_size)
