"""Activations that packed layers take, and modules that are left alone."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import SiglipVisionConfig
from transformers.activations import ACT2FN
from transformers.models.siglip.modeling_siglip import SiglipMLP

from inlay_kernels import pack_linears
from inlay_kernels.linear import PackedLinear
from inlay_shard.encoder.fused_activations import fuse_activations

SIZE = 24


class Mlp(nn.Module):
    """Two layers and an activation between them, unless `forward` says otherwise."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.first = nn.Linear(SIZE, 64)
        self.second = nn.Linear(64, SIZE)
        self.act: Any = ACT2FN[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(…, SIZE) to the same."""
        output: Tensor = self.second(self.act(self.first(x)))
        return output


class Gated(Mlp):
    """The activation stands behind the layer that comes second."""

    def __init__(self, activation: str) -> None:
        super().__init__(activation)
        self.second = nn.Linear(SIZE, 64)

    def forward(self, x: Tensor) -> Tensor:
        """(…, SIZE) to (…, 64)."""
        output: Tensor = self.first(x) * self.act(self.second(x))
        return output


class Normed(Mlp):
    """Something stands between layer and activation."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, SIZE) to the same."""
        output: Tensor = self.second(self.act(self.first(x) * 1.1))
        return output


class Twice(Mlp):
    """The activation is taken of something else, too."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, SIZE) to the same."""
        output: Tensor = self.act(self.second(self.act(self.first(x))))
        return output


class Unwilling(Mlp):
    """Takes more than one tensor."""

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Raises without a second."""
        assert y is not None
        return super().forward(x + y)


def packed(module: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    module.to(dtype).requires_grad_(False)
    pack_linears(module)
    return module


def num_taken(module: nn.Module, dtype: torch.dtype = torch.float32) -> int:
    """How many activations are fused; what the module computes stays the same."""
    packed(module, dtype)
    x = torch.randn(2, 7, SIZE, generator=torch.Generator().manual_seed(1)).to(dtype)
    before = module(x)
    count = fuse_activations(module.modules())
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(module(x), before, rtol=tolerance, atol=tolerance)
    return count


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "name",
    ["gelu", "gelu_python", "gelu_pytorch_tanh", "gelu_new", "gelu_fast", "silu", "relu"],
)
def test_the_layer_before_takes_it(name: str, dtype: torch.dtype) -> None:
    module = Mlp(name)
    assert num_taken(module, dtype) == 1
    assert isinstance(module.act, nn.Identity)
    assert isinstance(module.first, PackedLinear) and "activation=" in repr(module.first)


@pytest.mark.parametrize("name", ["quick_gelu", "gelu_10", "tanh", "relu2"])
def test_other_activations_stay(name: str) -> None:
    module = Mlp(name)
    own = module.act
    assert num_taken(module) == 0
    assert module.act is own


def test_the_layer_that_it_belongs_to_is_found() -> None:
    module: Any = Gated("silu")
    assert num_taken(module) == 1
    assert "activation=" in repr(module.second) and "activation=" not in repr(module.first)


@pytest.mark.parametrize("kind", [Normed, Twice, Unwilling])
def test_a_module_that_does_something_else_is_left_alone(kind: type[Mlp]) -> None:
    module = packed(kind("gelu"))
    own = module.act
    assert fuse_activations([module]) == 0
    assert module.act is own
    assert "activation=" not in repr(module)


def test_layers_that_are_not_packed_are_left_alone() -> None:
    assert fuse_activations([Mlp("gelu")]) == 0


def test_a_row_of_modules() -> None:
    assert num_taken(nn.Sequential(nn.Linear(SIZE, 9), nn.GELU(), nn.Linear(9, 4))) == 1


def test_an_encoders_own_module() -> None:
    config = SiglipVisionConfig(hidden_size=SIZE, intermediate_size=48)
    assert num_taken(SiglipMLP(config)) == 1
