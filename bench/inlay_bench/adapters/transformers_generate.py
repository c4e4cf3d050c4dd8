"""Drives `generate` of `transformers` on pictures, which its continuous batching does not take."""

from collections.abc import Sequence

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from inlay_bench.adapters.clock import Clock
from inlay_bench.adapters.loop import serve
from inlay_bench.adapters.picture import open_picture
from inlay_bench.adapters.stream import Load, Prompt, Stream


class Generate:
    """The model and its processor."""

    def __init__(self, load: Load) -> None:
        torch.set_num_threads(load.num_threads)
        self._dtype = getattr(torch, load.dtype)
        self._processor = AutoProcessor.from_pretrained(load.folder)
        model = AutoModelForImageTextToText.from_pretrained(load.folder, dtype=self._dtype)
        self._model = model.eval()

    def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """See Engine; one padded batch."""
        clock = Clock()
        inputs = self._processor(
            text=["<image>" + prompt.text for prompt in prompts],
            images=[[open_picture(prompt.picture)] for prompt in prompts],
            padding=True,
            return_tensors="pt",
        ).to(self._dtype)
        output = self._model.generate(
            **inputs, do_sample=False, max_new_tokens=num_new_tokens, streamer=clock
        )
        answers = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [Stream(token_ids, clock.times[1:]) for token_ids in answers]

    def close(self) -> None:
        """See Engine."""


if __name__ == "__main__":
    serve(Generate)
