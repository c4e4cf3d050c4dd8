"""Drives llama.cpp through its C interface, batched as its own `llama-batched-bench` does."""

import time
from collections.abc import Sequence

import llama_cpp

from inlay_bench.adapters.loop import serve
from inlay_bench.adapters.stream import Load, Prompt, Stream

MAX_BATCH_TOKENS = 2048


class Context:
    """A context with one place in its KV cache for each stream."""

    def __init__(self, load: Load) -> None:
        llama_cpp.llama_backend_init()
        model_parameters = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(
            str(load.folder).encode(), model_parameters
        )
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = load.num_cache_tokens
        parameters.n_batch = MAX_BATCH_TOKENS
        parameters.n_seq_max = load.num_streams
        parameters.n_threads = load.num_threads
        parameters.n_threads_batch = load.num_threads
        parameters.kv_unified = True
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._greedy = llama_cpp.llama_sampler_init_greedy()
        self._batch = llama_cpp.llama_batch_init(MAX_BATCH_TOKENS, 0, 1)

    def generate(self, prompts: Sequence[Prompt], num_new_tokens: int) -> list[Stream]:
        """See Engine; prompts first, as many a batch as fit, then all streams step by step."""
        llama_cpp.llama_memory_clear(self._memory, True)
        streams = [Stream() for _ in prompts]
        rows = [
            (place, position, token_id, position == len(prompt.token_ids) - 1)
            for place, prompt in enumerate(prompts)
            for position, token_id in enumerate(prompt.token_ids)
        ]
        for start in range(0, len(rows), MAX_BATCH_TOKENS):
            self._decode(rows[start : start + MAX_BATCH_TOKENS], streams)
        for index in range(num_new_tokens - 1):
            rows = [
                (place, len(prompt.token_ids) + index, streams[place].token_ids[-1], True)
                for place, prompt in enumerate(prompts)
            ]
            self._decode(rows, streams)
        return streams

    def _decode(self, rows: list[tuple[int, int, int, bool]], streams: list[Stream]) -> None:
        """One batch of (stream, position, token, whether it chooses); chosen tokens are taken."""
        batch = self._batch
        batch.n_tokens = len(rows)
        for index, (place, position, token_id, is_choosing) in enumerate(rows):
            batch.token[index] = token_id
            batch.pos[index] = position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = place
            batch.logits[index] = is_choosing
        if code := llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode answers {code}")
        for index, (place, _position, _token_id, is_choosing) in enumerate(rows):
            if is_choosing:
                token_id = llama_cpp.llama_sampler_sample(self._greedy, self._context, index)
                streams[place].take([token_id], time.perf_counter())

    def close(self) -> None:
        """See Engine."""
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)


if __name__ == "__main__":
    serve(Context)
