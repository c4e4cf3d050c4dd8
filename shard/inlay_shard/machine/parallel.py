"""The ranks of one replica: how they find each other and what they tell each other."""

import datetime
import ipaddress
import os
import socket
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

PATIENCE = datetime.timedelta(seconds=120)
"""How long a rank waits for another inside a step before it gives up and ends."""


class Ranks(Protocol):
    """What ranks say to each other. Every rank makes the same calls in the same order."""

    rank: int
    """This rank; rank 0 masks and samples."""
    num_ranks: int
    """All ranks."""

    def share(self, table: Tensor) -> Tensor:
        """Rank 0's `table`; the other ranks give one of the same shape and type, which is lost."""

    def least(self, table: Tensor) -> Tensor:
        """The smallest value that any rank has, element by element."""


class Alone:
    """A rank without others."""

    rank = 0
    num_ranks = 1

    def share(self, table: Tensor) -> Tensor:
        """The table itself."""
        return table

    def least(self, table: Tensor) -> Tensor:
        """The table itself."""
        return table


class Group:
    """Ranks joined by `torch.distributed`: gloo on CPU, NCCL on CUDA."""

    def __init__(self, rank: int, num_ranks: int, device: torch.device) -> None:
        """Meets the others at MASTER_ADDR:MASTER_PORT, and waits for all of them."""
        self.rank = rank
        self.num_ranks = num_ranks
        self._device = device
        if device.type == "cuda":
            torch.cuda.set_device(device)
        backend = "nccl" if device.type == "cuda" else "gloo"
        store = _meet(rank, num_ranks)
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=num_ranks, timeout=PATIENCE
        )

    def share(self, table: Tensor) -> Tensor:
        """One broadcast."""
        shared = table.to(self._device)
        dist.broadcast(shared, src=0)
        return shared.to(table.device)

    def least(self, table: Tensor) -> Tensor:
        """One all-reduce."""
        shared = table.to(self._device)
        dist.all_reduce(shared, op=dist.ReduceOp.MIN)
        return shared.to(table.device)


def _meet(rank: int, num_ranks: int) -> TCPStore:
    """Where ranks find each other. Left alone, torch would listen there on every interface."""
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if _is_loopback(host):
        for backend in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{backend}_SOCKET_IFNAME", "lo")
    listening = None
    if rank == 0:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # The store owns the descriptor from here on.
        listening = socket.create_server((host, port), family=family).detach()
    return TCPStore(host, port, num_ranks, rank == 0, timeout=PATIENCE, master_listen_fd=listening)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def join(rank: int, num_ranks: int, device: torch.device) -> Ranks:
    """The ranks that this process is one of."""
    return Alone() if num_ranks == 1 else Group(rank, num_ranks, device)
