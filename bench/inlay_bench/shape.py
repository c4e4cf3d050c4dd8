"""The sizes of the model that the bench makes for itself."""

import hashlib
from dataclasses import asdict, dataclass

import msgspec


@dataclass(frozen=True, kw_only=True)
class TextShape:
    """A Llama text tower."""

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    vocab_size: int

    @property
    def num_decode_weights(self) -> int:
        """Weights that one decode step reads: every layer and the head, not the embedding."""
        attention = 2 * self.hidden_size * self.head_size * (self.num_heads + self.num_kv_heads)
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        norms = 2 * self.hidden_size
        layers = self.num_layers * (attention + feed_forward + norms)
        return layers + self.hidden_size + self.hidden_size * self.vocab_size


@dataclass(frozen=True, kw_only=True)
class VisionShape:
    """A SigLIP-like vision encoder, and how its patches become image tokens."""

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    image_side: int
    """Pixels; every picture is brought to a square of this side."""
    patch_side: int
    """Pixels."""
    scale_factor: int
    """One image token stands for the square of this many patches."""

    @property
    def num_image_tokens(self) -> int:
        """Image tokens of one picture, its surrounding marks left out."""
        return (self.image_side // self.patch_side // self.scale_factor) ** 2

    @property
    def image_flops(self) -> int:
        """Multiplications and additions that the encoder needs for one picture."""
        num_patches = (self.image_side // self.patch_side) ** 2
        weights = 4 * self.hidden_size**2 + 2 * self.hidden_size * self.intermediate_size
        attention = 2 * num_patches * self.hidden_size
        return 2 * num_patches * self.num_layers * (weights + attention)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """An Idefics3 model."""

    text: TextShape
    vision: VisionShape
    max_positions: int
    """Longest sequence."""
    seed: int
    """Of the random weights."""

    @property
    def fingerprint(self) -> str:
        """Short name of exactly these sizes, for the folder that keeps the model."""
        return hashlib.sha256(msgspec.json.encode(asdict(self))).hexdigest()[:12]


BENCH_SHAPE = ModelShape(
    text=TextShape(
        num_layers=30,
        hidden_size=576,
        intermediate_size=1536,
        num_heads=9,
        num_kv_heads=3,
        head_size=64,
        vocab_size=49_280,
    ),
    vision=VisionShape(
        num_layers=6,
        hidden_size=384,
        intermediate_size=1536,
        num_heads=6,
        image_side=256,
        patch_side=16,
        scale_factor=2,
    ),
    max_positions=4096,
    seed=1,
)
"""The text tower of SmolVLM-256M with a small eye."""

SMOLVLM_SHAPE = ModelShape(
    text=BENCH_SHAPE.text,
    vision=VisionShape(
        num_layers=12,
        hidden_size=768,
        intermediate_size=3072,
        num_heads=12,
        image_side=512,
        patch_side=16,
        scale_factor=4,
    ),
    max_positions=4096,
    seed=1,
)
"""SmolVLM-256M, its eye included."""

SHAPES = {"bench": BENCH_SHAPE, "smolvlm": SMOLVLM_SHAPE}
