"""Keys and values land in their slots and nowhere else."""

import torch

from inlay_kernels import REFERENCE


def test_each_token_is_written_to_its_slot() -> None:
    caches = [torch.zeros(3, 4, 2, 5) for _ in range(2)]
    key, value = torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    REFERENCE.write_kv(key, value, caches[0], caches[1], torch.tensor([11, 0, 5]))
    for cache, written in zip(caches, (key, value), strict=True):
        assert torch.equal(cache[2, 3], written[0])
        assert torch.equal(cache[0, 0], written[1])
        assert torch.equal(cache[1, 1], written[2])
        assert int((cache != 0).any(-1).any(-1).sum()) == 3


def test_keys_may_be_strided() -> None:
    caches = [torch.zeros(2, 2, 2, 5) for _ in range(2)]
    key = torch.randn(2, 3, 5).transpose(0, 1)
    REFERENCE.write_kv(key, key, caches[0], caches[1], torch.tensor([3, 1, 2]))
    assert torch.equal(caches[0].flatten(0, 1)[[3, 1, 2]], key)
