"""Drives the continuous batching of `transformers`: its manager, fed and read as it offers."""

from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

from inlay_bench.adapters.loop import serve
from inlay_bench.adapters.stream import Load, Prompt, Stream

PAGE_SIZE = 32
MAX_BATCH_TOKENS = 2048


class Batching:
    """A running manager."""

    def __init__(self, load: Load) -> None:
        torch.set_num_threads(load.num_threads)
        dtype = getattr(torch, load.dtype)
        model = AutoModelForCausalLM.from_pretrained(
            load.folder, dtype=dtype, attn_implementation="sdpa"
        )
        self._manager = model.eval().init_continuous_batching(
            GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
            ContinuousBatchingConfig(
                page_size=PAGE_SIZE,
                num_blocks=load.num_cache_tokens // PAGE_SIZE,
                max_batch_tokens=MAX_BATCH_TOKENS,
            ),
        )
        self._manager.start()

    def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """See Engine; the manager itself notes when each token was there."""
        request_ids = [
            self._manager.add_request(
                prompt.token_ids,
                max_new_tokens=num_new_tokens,
                record_timestamps=True,
                eos_token_id=-1,
            )
            for prompt in prompts
        ]
        streams: dict[str, Stream] = {}
        while len(streams) < len(prompts):
            result = self._manager.get_result(timeout=1.0)
            if result is None:
                if not self._manager.is_running():
                    raise RuntimeError("the manager has stopped")
                continue
            if result.error is not None:
                raise RuntimeError(result.error)
            if result.is_finished():
                streams[result.request_id] = Stream(result.generated_tokens, result.timestamps)
        return [streams[request_id] for request_id in request_ids]

    def close(self) -> None:
        """See Engine."""
        self._manager.stop(block=True)


if __name__ == "__main__":
    serve(Batching)
