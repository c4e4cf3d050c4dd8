"""What of an encoder's attention is ours, and what is left to torch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from inlay_kernels.full_attention import full_attention
from inlay_shard.encoder import encoder_attention
from inlay_shard.encoder.encoder_attention import FULL, FULL_ALWAYS, register


class Heads(nn.Module):
    """What an attention module is asked for."""

    is_causal = False


@pytest.fixture
def num_ours(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often our kernel was called."""
    calls: list[float] = []

    def count(*parts: Tensor, scale: float) -> Tensor:
        calls.append(scale)
        return full_attention(*parts, scale=scale)

    monkeypatch.setattr(encoder_attention, "full_attention", count)
    return lambda: len(calls)


def attend(name: str, tokens: int = 600, dtype: torch.dtype = torch.float32, **named: Any) -> None:
    """Call the attention of a name as an encoder would, and hold it against torch's."""
    register()
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, tokens, 8, generator=random).to(dtype) for _ in range(3))
    module, mask = named.pop("module", Heads()), named.pop("attention_mask", None)
    function: Any = AttentionInterface()[name]
    output, weights = function(module, query, key, value, mask, **named)
    wanted, _ = sdpa_attention_forward(module, query, key, value, mask, **named)
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(output, wanted, rtol=tolerance, atol=tolerance)
    assert weights is None


def test_many_tokens_that_see_each_other_are_ours(num_ours: Callable[[], int]) -> None:
    attend(FULL)
    attend(FULL, scaling=0.3, is_causal=False, dropout=0.0)
    attend(FULL, dtype=torch.bfloat16)
    attend(FULL, attention_mask=torch.ones(2, 1, 600, 600, dtype=torch.bool))
    attend(FULL, attention_mask=torch.zeros(1, 1, 600, 600))
    assert num_ours() == 5


def test_few_tokens_are_ours_where_they_always_are(num_ours: Callable[[], int]) -> None:
    attend(FULL, tokens=20)
    assert num_ours() == 0
    attend(FULL_ALWAYS, tokens=20)
    assert num_ours() == 1


@pytest.mark.parametrize(
    "named",
    [
        {"attention_mask": torch.ones(600, 600, dtype=torch.bool).tril()},
        {"attention_mask": torch.ones(600, 600).tril().log()},
        {"is_causal": True},
        {"module": nn.Identity()},
        {"position_bias": torch.ones(1, 3, 600, 600)},
        {"sliding_window": 3},
        {"dtype": torch.float64},
    ],
    ids=[
        "mask",
        "mask to be added",
        "causal",
        "causal unless it says not",
        "bias",
        "window",
        "type",
    ],
)
def test_what_is_not_full_attention_is_left_to_torch(
    num_ours: Callable[[], int], named: dict[str, Any]
) -> None:
    attend(FULL, **named)
    assert num_ours() == 0


def test_it_gets_the_masks_that_torchs_would_get() -> None:
    register()
    masks = AttentionMaskInterface()
    assert masks[FULL] is masks[FULL_ALWAYS] is sdpa_mask
