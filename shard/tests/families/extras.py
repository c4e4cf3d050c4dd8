"""Libraries that inlay does not need and some families do: torchvision, timm and scipy.

PyPI's torchvision is compiled against another torch than one for the CPU. What it computes with
that, families do not use; but `import torchvision` describes two of its operators, which must be
there.
"""

import importlib.util
from typing import Any

import torch

_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
"""Operators of torchvision's compiled part that its import describes, and what they take."""


def has_torchvision() -> bool:
    """Whether torchvision is installed."""
    return importlib.util.find_spec("torchvision") is not None


def provide_operators() -> None:
    """Let torchvision be imported where its compiled part cannot be loaded; to be called before
    anything imports transformers."""
    if not has_torchvision():
        return
    define: Any = torch.library.define
    for name, signature in _OPERATORS.items():
        define(f"torchvision::{name}", signature)
