"""The best figure that the machine's bytes and multiplications allow, row by row."""

from inlay_bench.floor import MachineSpeed
from inlay_bench.peers.models import Model
from inlay_bench.peers.workload import Row
from inlay_bench.shape import TextShape

NUM_WEIGHT_BYTES = 2
NUM_CACHE_BYTES = 2


def floor(model: Model, row: Row, speed: MachineSpeed) -> float | None:
    """In the row's unit; None where a cache decides and no floor is known."""
    match row.measure:
        case "decode":
            return row.num_prompts / decode_seconds(model.text, row, speed)
        case "prefill":
            return row.num_prompt_tokens / prefill_seconds(model.text, row.num_prompt_tokens, speed)
        case "images":
            return 1 / image_seconds(model, row, speed)
        case "new image":
            return 1000 * image_seconds(model, row, speed)
        case "repeated image":
            return None


def decode_seconds(shape: TextShape, row: Row, speed: MachineSpeed) -> float:
    """One step of all streams in the middle of their answers: the longer of reading every weight
    and the KV cache once, and multiplying."""
    num_positions = row.num_prompts * (row.num_prompt_tokens + row.num_new_tokens / 2)
    weights, cache = shape.num_decode_weights, num_positions * cache_width(shape)
    num_bytes = NUM_WEIGHT_BYTES * weights + NUM_CACHE_BYTES * cache
    flops = 2 * row.num_prompts * weights + num_positions * attention_flops(shape)
    return max(num_bytes / speed.bytes_per_second, flops / speed.flops_per_second)


def prefill_seconds(shape: TextShape, num_tokens: int, speed: MachineSpeed) -> float:
    """Every layer for every token, the head for the last one, attention over what stands before."""
    head = shape.hidden_size * shape.vocab_size
    linear = 2 * (num_tokens * (shape.num_decode_weights - head) + head)
    attention = num_tokens**2 / 2 * attention_flops(shape)
    return (linear + attention) / speed.flops_per_second


def image_seconds(model: Model, row: Row, speed: MachineSpeed) -> float:
    """One picture through the encoder, and its prompt through the text tower."""
    assert model.vision is not None
    num_tokens = model.vision.num_image_tokens + row.num_prompt_tokens
    encoder = model.vision.image_flops / speed.flops_per_second
    return encoder + prefill_seconds(model.text, num_tokens, speed)


def cache_width(shape: TextShape) -> int:
    """Numbers that the KV cache keeps for one position."""
    return 2 * shape.num_layers * shape.num_kv_heads * shape.head_size


def attention_flops(shape: TextShape) -> int:
    """For one query and one key with its value, in all layers and heads."""
    return 4 * shape.num_layers * shape.num_heads * shape.head_size
