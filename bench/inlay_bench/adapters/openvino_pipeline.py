"""Drives the continuous batching of openvino-genai step by step."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from inlay_bench.adapters.loop import serve
from inlay_bench.adapters.picture import open_picture
from inlay_bench.adapters.stream import Load, Prompt, Stream

BLOCK_SIZE = 32
"""Tokens of a KV block on a CPU."""
PRECISIONS = {"bfloat16": "bf16", "float32": "f32"}


class Pipeline:
    """A pipeline with prefix cache and split prefill."""

    def __init__(self, load: Load) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = load.num_cache_tokens // BLOCK_SIZE
        scheduler.max_num_seqs = load.num_streams
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = True
        properties = {
            "INFERENCE_NUM_THREADS": load.num_threads,
            "INFERENCE_PRECISION_HINT": PRECISIONS[load.dtype],
            "KV_CACHE_PRECISION": PRECISIONS[load.dtype],
        }
        self._pipeline = genai.ContinuousBatchingPipeline(
            str(load.folder), scheduler, "CPU", properties
        )
        self._num_requests = 0

    def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """See Engine."""
        config = genai.GenerationConfig()
        config.max_new_tokens = num_new_tokens
        config.ignore_eos = True
        config.do_sample = False
        config.apply_chat_template = False
        streams = [Stream() for _ in prompts]
        handles = [self._add(prompt, config) for prompt in prompts]
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            now = time.perf_counter()
            for stream, handle in zip(streams, handles, strict=True):
                while handle.can_read():
                    for output in handle.read().values():
                        stream.take(output.generated_ids, now)
        return streams

    def _add(self, prompt: Prompt, config: genai.GenerationConfig) -> Any:
        self._num_requests += 1
        if prompt.picture is None:
            token_ids = ov.Tensor(np.array([prompt.token_ids], dtype=np.int64))
            return self._pipeline.add_request(self._num_requests, token_ids, config)
        picture = np.asarray(open_picture(prompt.picture))[None]
        return self._pipeline.add_request(
            self._num_requests, prompt.text, [ov.Tensor(picture)], config
        )

    def close(self) -> None:
        """See Engine."""


if __name__ == "__main__":
    serve(Pipeline)
