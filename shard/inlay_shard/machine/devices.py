"""Whether a device still computes."""

import torch


def is_lost(device: torch.device) -> bool:
    """Whether nothing can be computed on a device any more by this process, as behind an illegal
    access to memory: CUDA then fails whatever it is asked. A CPU is never lost."""
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False
