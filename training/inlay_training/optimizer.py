"""Muon for matrices and AdamW for everything else, as one optimizer."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Optimizer:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms, heads and biases."""

    def __init__(self, modules: Mapping[str, nn.Module], rate: float) -> None:
        matrices: dict[int, nn.Parameter] = {}
        others: dict[int, nn.Parameter] = {}
        for module in modules.values():
            for name, parameter in module.named_parameters():
                is_matrix = parameter.ndim == 2 and not any(
                    part in name for part in ("embed", "heads", "lm_head")
                )
                (matrices if is_matrix else others)[id(parameter)] = parameter
        self.parameters = [*matrices.values(), *others.values()]
        self._rate = rate
        self._muon = torch.optim.Muon(
            list(matrices.values()), lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        self._adam = torch.optim.AdamW(
            list(others.values()), lr=rate, betas=(0.9, 0.98), weight_decay=0.0
        )

    def step(self, share_of_rate: float) -> None:
        """One step on the gradients, which are then cleared."""
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        optimizers: tuple[tuple[Any, float], ...] = ((self._muon, 1.0), (self._adam, 0.4))
        for optimizer, scale in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._rate * share_of_rate * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
