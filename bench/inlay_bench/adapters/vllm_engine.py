"""Drives vLLM's engine step by step, in one process, as its offline API does."""

import time
from collections.abc import Sequence
from typing import Any

from vllm import EngineArgs, LLMEngine, SamplingParams
from vllm.sampling_params import RequestOutputKind

from inlay_bench.adapters.loop import serve
from inlay_bench.adapters.picture import open_picture
from inlay_bench.adapters.stream import Load, Prompt, Stream

MAX_POSITIONS = 4096


class Vllm:
    """An engine with its model; prefix cache on, compiled as it does by itself."""

    def __init__(self, load: Load) -> None:
        self._engine = LLMEngine.from_engine_args(
            EngineArgs(
                model=str(load.folder),
                dtype=load.dtype,
                max_model_len=MAX_POSITIONS,
                max_num_seqs=load.num_streams,
                enable_prefix_caching=True,
                enforce_eager=load.has_images,
                limit_mm_per_prompt={"image": 1} if load.has_images else {},
                disable_log_stats=True,
            )
        )
        self._num_requests = 0

    def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """See Engine."""
        sampling = SamplingParams(
            temperature=0.0,
            max_tokens=num_new_tokens,
            ignore_eos=True,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
        )
        streams: dict[str, Stream] = {}
        for prompt in prompts:
            self._num_requests += 1
            request_id = str(self._num_requests)
            streams[request_id] = Stream()
            self._engine.add_request(request_id, request_input(prompt), sampling)
        while self._engine.has_unfinished_requests():
            outputs = self._engine.step()
            now = time.perf_counter()
            for output in outputs:
                key = output.request_id.split("-")[0]
                streams[key].take(output.outputs[0].token_ids, now)
        return list(streams.values())

    def close(self) -> None:
        """See Engine."""


def request_input(prompt: Prompt) -> dict[str, Any]:
    """As `add_request` takes it."""
    if prompt.picture is None:
        return {"prompt_token_ids": prompt.token_ids}
    picture = open_picture(prompt.picture)
    return {"prompt": "<image>" + prompt.text, "multi_modal_data": {"image": picture}}


if __name__ == "__main__":
    serve(Vllm)
