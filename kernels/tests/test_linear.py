"""Packed linear layers compute what the layers they replace computed."""

import copy

import pytest
import torch
from torch import nn

from inlay_kernels.linear import (
    ACTIVATIONS,
    NO_ACTIVATION,
    Activation,
    PackedLinear,
    pack_linears,
)

DTYPES = [torch.float32, torch.bfloat16]


class TiedModel(nn.Module):
    """An embedding, a block, and an output layer with the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(31, 24)
        self.block = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 24, bias=False))
        self.lm_head = nn.Linear(24, 31, bias=False)
        self.lm_head.weight = self.embed.weight

    def forward(self, token_ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.lm_head(self.block(self.embed(token_ids)))
        return logits


def model_and_packed(dtype: torch.dtype) -> tuple[TiedModel, TiedModel]:
    torch.manual_seed(0)
    model = TiedModel().to(dtype).requires_grad_(False)
    packed = copy.deepcopy(model)
    pack_linears(packed)
    return model, packed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 70), (0,)])
def test_a_packed_model_computes_the_same(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    model, packed = model_and_packed(dtype)
    token_ids = torch.randint(0, 31, shape)
    expected = model(token_ids)
    tolerance = 1e-5 if dtype == torch.float32 else 1.6e-2
    torch.testing.assert_close(packed(token_ids), expected, rtol=tolerance, atol=tolerance)


def test_every_plain_layer_is_packed_and_the_embedding_keeps_its_weight() -> None:
    model, packed = model_and_packed(torch.float32)
    kinds = {name: type(module) for name, module in packed.named_modules()}
    assert kinds["block.0"] is kinds["block.2"] is kinds["lm_head"] is PackedLinear
    assert torch.equal(packed.embed.weight, model.embed.weight)
    assert packed.lm_head.weight.shape == (31, 24)
    assert packed.lm_head.weight.dtype == torch.float32
    assert repr(packed.lm_head) == "PackedLinear(in_features=24, out_features=31)"


def test_a_layer_in_two_places_is_packed_once() -> None:
    layer = nn.Linear(8, 8)
    model = nn.Sequential(layer, nn.Sequential(layer))
    pack_linears(model)
    assert isinstance(model[0], PackedLinear)
    assert [*model[1].children()] == [model[0]]


def test_what_is_not_a_plain_layer_is_left_alone() -> None:
    class Special(nn.Linear):
        pass

    hooked = nn.Linear(4, 4)
    hooked.register_forward_pre_hook(lambda module, arguments: None)
    model = nn.Sequential(Special(4, 4), hooked, nn.Linear(4, 4).to(torch.float16))
    before = list(model)
    pack_linears(model)
    assert list(model) == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_that_are_not_contiguous_are_taken(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(16, 8).to(dtype).requires_grad_(False)
    x = torch.randn(16, 5).to(dtype).t()
    torch.testing.assert_close(PackedLinear(layer)(x), layer(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_an_activation_is_taken_on_the_way(dtype: torch.dtype, activation: Activation) -> None:
    torch.manual_seed(0)
    packed = PackedLinear(nn.Linear(16, 40).to(dtype).requires_grad_(False))
    x = (torch.randn(2, 5, 16) * 3).to(dtype)
    wanted = activation.of(packed(x))
    packed.activation = activation
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(packed(x), wanted, rtol=tolerance, atol=tolerance)
    assert f"activation={activation.name}" in repr(packed)


def test_no_activation_is_none() -> None:
    x = torch.randn(5)
    assert NO_ACTIVATION.of(x) is x
