"""What `transformers` answers to the same prompt: the truth that engines are held against."""

from collections.abc import Sequence
from pathlib import Path

import torch

from inlay_shard.images.preparation import load_preparer
from inlay_shard.images.recipe import Piece
from inlay_shard.model.architecture import auto_class, read_config


class Reference:
    """`transformers` generate on the same folder, float32, greedy, one prompt at a time."""

    def __init__(self, folder: Path, *, takes_images: bool = False) -> None:
        auto = auto_class(read_config(folder))
        self.model = auto.from_pretrained(folder, dtype=torch.float32).eval()
        self._preparer = load_preparer(folder) if takes_images else None

    def generate(self, token_ids: Sequence[int], max_new_tokens: int = 12) -> list[int]:
        """The answer to a prompt of text."""
        return self._generate(max_new_tokens, input_ids=torch.tensor([list(token_ids)]))

    def generate_seen(self, pieces: Sequence[Piece], max_new_tokens: int = 12) -> list[int]:
        """The answer to a prompt with images, prepared by the model's processor."""
        assert self._preparer is not None
        prepared = self._preparer.prepare(pieces, True)
        inputs = {name: torch.from_numpy(array) for name, array in prepared.inputs.items()}
        token_ids = torch.from_numpy(prepared.token_ids).unsqueeze(0)
        return self._generate(max_new_tokens, input_ids=token_ids, **inputs)

    @torch.inference_mode()
    def _generate(self, max_new_tokens: int, **inputs: torch.Tensor) -> list[int]:
        output = self.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        answer: list[int] = output[0, inputs["input_ids"].shape[1] :].tolist()
        return answer
