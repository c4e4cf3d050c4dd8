"""From tokens to logits past the wrappers of a model, where both are proven to say the same.

The code of a model around its text tower takes most of a millisecond a step, whatever it computes.
"""

import torch
from torch import Tensor, nn

from inlay_kernels.decoder import StreamedLinear
from inlay_shard.model.network import Network, Rated
from inlay_shard.proofs.probe import probe_tokens
from inlay_shard.tower.tower import FusedTower

_SCALES = (1.0, 1e2, 1e4)
"""Sizes of hidden states that are tried: a head that caps its logits does so to large ones."""


class Shortcut:
    """A compiled text tower and the head of its model, with nothing around them."""

    def __init__(self, tower: FusedTower, head: nn.Module) -> None:
        self._tower = tower
        self._head = head

    def __call__(
        self, token_ids: Tensor, position_ids: Tensor, keep: Tensor, embeddings: Tensor | None
    ) -> Tensor:
        """Logits (len(keep), vocab_size), as `Network.logits` has them."""
        return self.rated(token_ids, position_ids, keep, embeddings)[0]

    def rated(
        self,
        token_ids: Tensor,
        position_ids: Tensor,
        keep: Tensor,
        embeddings: Tensor | None,
        goes_on: bool = False,
    ) -> Rated:
        """The same, with the likeliest tokens where the head is compiled, too."""
        if isinstance(self._head, StreamedLinear):
            return self._tower.rated(
                token_ids, position_ids, keep, embeddings, self._head, goes_on=goes_on
            )
        if embeddings is None:
            embeddings = self._tower.embed(token_ids)
        hidden = self._tower.hidden(embeddings, position_ids)
        return self.head(hidden.index_select(0, keep)), None

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (n, vocab_size) of last hidden states (n, hidden_size)."""
        logits: Tensor = self._head(hidden)
        return logits


@torch.inference_mode()
def find_shortcut(network: Network, tower: FusedTower, num_tokens: int) -> Shortcut | None:
    """The shortcut of a network whose tower is compiled, if it gives the very same logits.

    A batch of one sequence of num_tokens must be laid out for the tower.
    """
    head = network.model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        return None
    shortcut = Shortcut(tower, head)
    token_ids, positions = probe_tokens(network, num_tokens)
    positions = positions + torch.arange(len(positions)).unsqueeze(1)
    keep = torch.arange(num_tokens)
    for embeddings in (None, tower.embed(token_ids)):
        wanted = network.logits(token_ids, positions, keep, embeddings)
        logits, likeliest = shortcut.rated(token_ids, positions, keep, embeddings)
        if not _same(wanted, logits):
            return None
        if likeliest is not None and not _same(logits.argmax(-1), likeliest.token_ids):
            return None
    direction = torch.linspace(-1, 1, network.hidden_size, dtype=network.dtype).expand(2, -1)
    for scale in _SCALES:
        if not _same(network.head(direction * scale), shortcut.head(direction * scale)):
            return None
    return shortcut


def _same(wanted: Tensor, given: Tensor) -> bool:
    return wanted.dtype == given.dtype and torch.equal(wanted, given)
