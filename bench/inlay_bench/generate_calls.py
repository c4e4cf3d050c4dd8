"""The lines of JSON between the bench and the process that calls `generate`."""

import msgspec

from inlay_bench.batch import Batch
from inlay_bench.floor import MachineSpeed
from inlay_bench.prompts import Prompt


class MeasureMachine(msgspec.Struct, tag=True):
    """Answered with a MachineReply."""


class Generate(msgspec.Struct, tag=True):
    """Answered with a BatchReply."""

    prompts: tuple[Prompt, ...]
    num_new_tokens: int


class MachineReply(msgspec.Struct, tag=True):
    """How fast the machine is with this process's threads and type."""

    speed: MachineSpeed


class BatchReply(msgspec.Struct, tag=True):
    """The answers of `generate`."""

    batch: Batch


class Ready(msgspec.Struct, tag=True):
    """The first line: the model is loaded."""


Call = MeasureMachine | Generate
Reply = Ready | MachineReply | BatchReply
