"""`LLM`: a model that answers in this program, with vLLM's names."""

import hashlib
import itertools
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeAlias

from inlay.llm.arguments import engine_options, refuse
from inlay.llm.messages import MessagesRequest, MessageType
from inlay.llm.outputs import RequestOutput, request_output
from inlay.llm.progress import progress
from inlay.llm.prompts import PromptType, prompt_request
from inlay.llm.sampling_params import SamplingParams
from inlay.offline.engine import OfflineEngine
from inlay.offline.placeholders import image_marks
from inlay.offline.requests import Request

ManyParams: TypeAlias = SamplingParams | Sequence[SamplingParams] | None
"""Parameters of all prompts, or one for each; None for the defaults."""

_NUM_SEED_BYTES = 8


class LLM:
    """The engine of `inlay serve` behind Python calls; see docs/from-vllm.md.

    Give it back with `close`, or use it as a context; it ends with the program in any case.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        tensor_parallel_size: int = 1,
        dtype: str = "auto",
        quantization: str | None = None,
        max_model_len: int | None = None,
        limit_mm_per_prompt: Mapping[str, int] | None = None,
        seed: int | None = 0,
        revision: str | None = None,
        trust_remote_code: bool = False,
        max_num_seqs: int = 128,
        max_num_batched_tokens: int | None = None,
        enable_prefix_caching: bool = True,
        block_size: int = 32,
        num_gpu_blocks_override: int | None = None,
        allowed_local_media_path: str = "",
        chat_template: str | None = None,
        plugins: Sequence[str] = (),
        device: str = "auto",
        enforce_eager: bool = False,
        num_threads: int | None = None,
        in_process: bool = True,
        **others: Any,
    ) -> None:
        """Returns when the model is loaded.

        Args:
            model: a folder or a hub id; None for the model that ships with inlay.
            tensor_parallel_size: processes that the model is split over.
            dtype: `auto`, `float32`, `bfloat16` or `float16`.
            quantization: `int8` (on a CPU), or None.
            max_model_len: tokens of prompt and answer together.
            limit_mm_per_prompt: `{"image": most images of a prompt}`; 16 without it.
            seed: what answers without a seed of their own are drawn from; None for ever other ones.
            revision: branch, tag or commit of a hub repository.
            trust_remote_code: only False: code from a repository is never run.
            max_num_seqs: answers that grow at a time.
            max_num_batched_tokens: prompt tokens that a step computes at most.
            enable_prefix_caching: whether prompts that begin alike are computed once.
            block_size: tokens of a block of the KV pool.
            num_gpu_blocks_override: blocks of the KV pool, on whatever device.
            allowed_local_media_path: folder that `file:` URLs of images may read from.
            chat_template: Jinja source to use instead of the model's own.
            plugins: modules, or paths of Python files, with the code of model authors.
            device: `auto`, `cpu` or `cuda`.
            enforce_eager: whether no CUDA graphs are captured.
            num_threads: CPU threads that compute.
            in_process: whether a model that is not split runs in this process, not in its own.

        Raises TypeError for an argument that is not here, ValueError for a value that cannot be,
        and EngineError when the model cannot be had or served.
        """
        refuse(others, trust_remote_code=trust_remote_code)
        self._engine = OfflineEngine(
            engine_options(
                model=model,
                revision=revision,
                num_shards=tensor_parallel_size,
                is_embedded=in_process,
                dtype=dtype,
                device=device,
                has_graphs=not enforce_eager,
                quantize=quantization,
                num_threads=num_threads,
                num_blocks=num_gpu_blocks_override,
                block_size=block_size,
                max_total_tokens=max_model_len,
                max_batch_size=max_num_seqs,
                max_batch_prefill_tokens=max_num_batched_tokens,
                has_prefix_cache=enable_prefix_caching,
                limit_mm_per_prompt=limit_mm_per_prompt,
                local_images=allowed_local_media_path,
                chat_template=chat_template,
                plugins=tuple(plugins),
            )
        )
        self._seed = secrets.randbits(64) if seed is None else seed
        self._marks = image_marks(self._engine.service, self._engine.model.path)
        self._request_ids = itertools.count()
        self._seeds = itertools.count()
        self._seed_counter = itertools.count(1)

    def __repr__(self) -> str:
        return f"LLM({self._engine!r})"

    def generate(
        self,
        prompts: PromptType | Sequence[PromptType],
        sampling_params: ManyParams = None,
        *,
        use_tqdm: bool = True,
    ) -> list[RequestOutput]:
        """An output for each prompt, in their order.

        Args:
            prompts: one or a list: a text, `{"prompt": text, "multi_modal_data": {"image": …}}`, or
                `{"prompt_token_ids": ids}`. Images stand where the text holds `<image>` or the
                model's own mark, or in front of a text without marks: one picture of PIL, a list,
                or a tensor of embeddings (num_images, image_feature_size, hidden_size).
            sampling_params: for all prompts, or one for each.
            use_tqdm: whether a progress bar is shown.

        The first prompt that cannot be served ends the call: RequestRefused, a ValueError, or
        RequestFailed; with several prompts the words begin with its place.
        """
        many = [prompts] if isinstance(prompts, (str, Mapping)) else list(prompts)
        params = _each(sampling_params, len(many))
        requests = [
            prompt_request(prompt, own.controls(self._next_seed()), self._marks)
            for prompt, own in zip(many, params, strict=True)
        ]
        return self._run(requests, params, is_shown=use_tqdm)

    def chat(
        self,
        messages: Sequence[MessageType] | Sequence[Sequence[MessageType]],
        sampling_params: ManyParams = None,
        *,
        use_tqdm: bool = True,
        chat_template: str | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> list[RequestOutput]:
        """An output for each conversation.

        Args:
            messages: one conversation or a list of them, as OpenAI's clients write them. A part may
                be `image_url` (http, https, a data URI), `{"type": "image_pil", "image_pil":
                picture}`, or `image_embeds` with a tensor.
            sampling_params: for all conversations, or one for each.
            use_tqdm: whether a progress bar is shown.
            chat_template: Jinja source to use instead of the model's own.
            add_generation_prompt: whether the template is asked to begin an answer.
            continue_final_message: whether the answer continues the last message.
            tools: functions that the template describes to the model; the answer stays a text.
            chat_template_kwargs: more variables for the template.

        Raises as `generate` does.
        """
        many = _conversations(messages)
        params = _each(sampling_params, len(many))
        options = {
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": continue_final_message,
            "tools": list(tools) if tools else None,
            "chat_template_kwargs": chat_template_kwargs,
        }
        requests = [
            MessagesRequest(
                messages=conversation,
                options=options,
                chat_template=chat_template,
                controls=own.controls(self._next_seed()),
            )
            for conversation, own in zip(many, params, strict=True)
        ]
        return self._run(requests, params, is_shown=use_tqdm)

    def close(self) -> None:
        """End its threads and processes, and let the model go."""
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(
        self, requests: Sequence[Request], params: Sequence[SamplingParams], *, is_shown: bool
    ) -> list[RequestOutput]:
        with progress(len(requests), is_shown=is_shown) as on_done:
            results = self._engine.run(requests, on_done)
        tokenizer = self._engine.tokenizer
        return [
            request_output(str(next(self._request_ids)), result, own, tokenizer)
            for result, own in zip(results, params, strict=True)
        ]

    def _next_seed(self) -> int:
        """For an answer without a seed: another one each time, the same in every program."""
        digest = hashlib.sha256(f"{self._seed} {next(self._seed_counter)}".encode()).digest()
        return int.from_bytes(digest[:_NUM_SEED_BYTES], "little")


def _each(params: ManyParams, num_prompts: int) -> list[SamplingParams]:
    if params is None or isinstance(params, SamplingParams):
        return [params or SamplingParams()] * num_prompts
    if len(params) != num_prompts:
        raise ValueError(
            f"`sampling_params` must be one, or one for each of the {num_prompts} prompts. "
            f"Given: {len(params)}"
        )
    return list(params)


def _conversations(
    messages: Sequence[MessageType] | Sequence[Sequence[MessageType]],
) -> list[list[MessageType]]:
    """One conversation, or several."""
    alone: list[MessageType] = []
    several: list[list[MessageType]] = []
    for entry in messages:
        if isinstance(entry, Mapping):
            alone.append(entry)
        else:
            several.append(list(entry))
    if alone and several:
        raise ValueError("`messages` must be one conversation, or a list of conversations")
    return [alone] if alone else several
