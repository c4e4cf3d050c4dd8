"""A process that loads the model with `transformers` and answers calls by `generate`."""

import argparse
import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from inlay_bench.adapters.clock import Clock
from inlay_bench.batch import Batch
from inlay_bench.generate_calls import (
    BatchReply,
    Call,
    Generate,
    MachineReply,
    MeasureMachine,
    Ready,
    Reply,
)
from inlay_bench.machine import measure_machine
from inlay_bench.prompts import Prompt


class Generator:
    """The model and its processor, in one type."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self._processor = AutoProcessor.from_pretrained(folder)
        self._model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval()
        self._dtype = dtype

    def answer(self, prompts: Sequence[Prompt], num_new_tokens: int) -> Batch:
        """One padded batch, greedy; the clock runs from text and PNG to the last token."""
        clock = Clock()
        start = time.perf_counter()
        inputs = self._prepare(prompts)
        output = self._model.generate(
            **inputs, do_sample=False, max_new_tokens=num_new_tokens, streamer=clock
        )
        token_ids = output[:, inputs["input_ids"].shape[1] :].tolist()
        decode = self._processor.tokenizer.decode
        _prompt_time, first, *_between, last = clock.times
        return Batch(
            first_token_seconds=(first - start,) * len(prompts),
            last_token_seconds=(last - start,) * len(prompts),
            token_ids=tuple(map(tuple, token_ids)),
            texts=tuple(decode(ids, skip_special_tokens=True) for ids in token_ids),
        )

    def _prepare(self, prompts: Sequence[Prompt]) -> dict[str, torch.Tensor]:
        """Tensors of the whole batch, as the model's own processor makes them."""
        texts = [prompt.processor_text for prompt in prompts]
        pictures = [[open_picture(prompt.picture)] for prompt in prompts if prompt.picture]
        inputs = self._processor(
            text=texts, images=pictures or None, padding=True, return_tensors="pt"
        )
        return dict(inputs.to(self._dtype))

    def reply(self, call: Call) -> Reply:
        """What the bench asked for."""
        match call:
            case MeasureMachine():
                return MachineReply(measure_machine(self._dtype))
            case Generate():
                return BatchReply(self.answer(call.prompts, call.num_new_tokens))


def open_picture(data: bytes) -> Image.Image:
    """The decoded picture."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def take_stdout() -> io.BufferedWriter:
    """Standard output for replies alone; whatever libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies


def main() -> None:
    """Answers the calls on standard input until it closes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--num-threads", type=int, required=True)
    options = parser.parse_args()
    replies = take_stdout()
    logging.disable_progress_bar()
    torch.set_num_threads(options.num_threads)
    generator = Generator(options.folder, getattr(torch, options.dtype))
    decoder = msgspec.json.Decoder(Call)
    reply: Reply = Ready()
    while True:
        replies.write(msgspec.json.encode(reply) + b"\n")
        replies.flush()
        line = sys.stdin.buffer.readline()
        if not line:
            return
        reply = generator.reply(decoder.decode(line))


if __name__ == "__main__":
    main()
