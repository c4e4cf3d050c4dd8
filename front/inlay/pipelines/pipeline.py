"""`pipeline(…)`: prompts in LMDeploy's forms, answered by the engine in this program."""

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, Literal, Self, TypeAlias, overload

from inlay.llm.progress import progress
from inlay.offline.engine import OfflineEngine
from inlay.offline.engine_options import EngineOptions
from inlay.offline.errors import EngineError
from inlay.offline.requests import Request
from inlay.offline.result import Result
from inlay.pipelines.answers import AnswerReader, joined
from inlay.pipelines.chat_templates import BUILTIN, ChatTemplateConfig
from inlay.pipelines.configs import EngineConfig, GenerationConfig, VisionConfig
from inlay.pipelines.controls import controls_of, own_names
from inlay.pipelines.prompts import Conversation, Message, is_batch, read_prompt, read_prompts
from inlay.pipelines.requests import Asked, SideBySide, WithLogits, templated, untemplated
from inlay.pipelines.response import Response, Session
from inlay.pipelines.surprise import cross_entropy, scored, texts_of

_log = logging.getLogger("inlay.pipeline")

Configs: TypeAlias = GenerationConfig | Sequence[GenerationConfig] | None
"""One for all prompts, or one for each."""
OnePrompt: TypeAlias = str | tuple[Any, Any] | list[Message]
"""See `Pipeline.__call__`."""
ManyPrompts: TypeAlias = (
    list[str] | list[tuple[Any, Any]] | list[str | tuple[Any, Any]] | list[list[Message]]
)


def pipeline(
    model_path: str | None = None,
    backend_config: EngineConfig | None = None,
    chat_template_config: ChatTemplateConfig | None = None,
    vision_config: VisionConfig | None = None,
) -> "Pipeline":
    """A model that answers in this program: a folder, a hub id, or None for the one of inlay.

    Returns when the model is loaded. Raises inlay.offline.errors.EngineError.
    """
    return Pipeline(model_path, backend_config, chat_template_config, vision_config)


class Pipeline:
    """Answers prompts; see `pipeline`. For any thread. It ends with `close`, or its context."""

    def __init__(
        self,
        model_path: str | None,
        backend_config: EngineConfig | None,
        chat_template_config: ChatTemplateConfig | None,
        vision_config: VisionConfig | None,
    ) -> None:
        template = chat_template_config
        options = _options(
            model_path, backend_config or EngineConfig(), vision_config or VisionConfig(), template
        )
        self.engine = _started(options)
        """What answers; it may be asked directly."""
        self._stop_words = () if template is None else tuple(template.stop_words or ())
        self._fallback = None if self._has_template else BUILTIN["base"].to_jinja()
        if self._fallback is not None:
            _log.warning(
                "%s carries no chat template: prompts are given to it as they are; "
                "ChatTemplateConfig names one",
                self.engine.facts.model_id,
            )

    def __repr__(self) -> str:
        return f"Pipeline({self.engine!r})"

    @overload
    def __call__(
        self,
        prompts: OnePrompt,
        gen_config: GenerationConfig | None = None,
        *,
        do_preprocess: bool = True,
        use_tqdm: bool = False,
    ) -> Response: ...

    @overload
    def __call__(
        self,
        prompts: ManyPrompts,
        gen_config: Configs = None,
        *,
        do_preprocess: bool = True,
        use_tqdm: bool = False,
    ) -> list[Response]: ...

    def __call__(
        self,
        prompts: object,
        gen_config: Configs = None,
        *,
        do_preprocess: bool = True,
        use_tqdm: bool = False,
    ) -> Response | list[Response]:
        """The answer to a prompt, or the answers to a list of prompts, in their order.

        A prompt is a text, (text, image), (text, [images]), or a list of messages as OpenAI writes
        them; an image is one of PIL, a path, an address or a data URI. Images stand in front of the
        text, or where it holds IMAGE_TOKEN. `do_preprocess=False` leaves the chat template out.
        Raises ValueError for what cannot be served, and inlay.offline.errors.RequestFailed.
        """
        asked = self._asked(prompts, gen_config, do_preprocess)
        with own_names(), progress(len(asked), is_shown=use_tqdm) as on_done:
            results = self.engine.run([one.request for one in asked], on_done)
        pairs = zip(results, asked, strict=True)
        responses = [self._whole(result, i, one.config) for i, (result, one) in enumerate(pairs)]
        return responses if is_batch(prompts) else responses[0]

    infer = __call__

    def stream_infer(
        self, prompts: object, gen_config: Configs = None, *, do_preprocess: bool = True
    ) -> Generator[Response, None, None]:
        """The same piece by piece; `index` of a piece is the place of its prompt in the list.

        To close the generator stops what still runs.
        """
        return self._stream(self._asked(prompts, gen_config, do_preprocess))

    def session(self) -> Session:
        """A conversation that has not begun."""
        return Session()

    @overload
    def chat(
        self,
        prompt: OnePrompt,
        session: Session | None = None,
        gen_config: GenerationConfig | None = None,
        stream_response: Literal[False] = False,
    ) -> Session: ...

    @overload
    def chat(
        self,
        prompt: OnePrompt,
        session: Session | None = None,
        gen_config: GenerationConfig | None = None,
        *,
        stream_response: Literal[True],
    ) -> Generator[Response, None, None]: ...

    def chat(
        self,
        prompt: OnePrompt,
        session: Session | None = None,
        gen_config: GenerationConfig | None = None,
        stream_response: bool = False,
    ) -> Session | Generator[Response, None, None]:
        """The session, a new one if None, with another turn; or that turn piece by piece.

        Earlier turns are found in the prefix cache: see `cached_tokens` of the response. A turn
        that fails, or is stopped, leaves the session as it was.
        """
        session = Session() if session is None else session
        turns = [*session.history, (prompt, "")]
        messages = [message for asked, text in turns for message in _turn(asked, text)]
        pieces = self._stream(self._asked(messages, gen_config, True))
        turn = _noted(session, prompt, pieces)
        if stream_response:
            return turn
        for _ in turn:
            pass
        return session

    def get_ppl(self, input_ids: Sequence[int] | Sequence[Sequence[int]]) -> list[float]:
        """How surprising texts are to the model: of each the mean cross-entropy of its tokens but
        the first, in nats. As in LMDeploy the exponential, the perplexity, is left to the caller.

        Token ids of one text or of several, each at least 2. Raises ValueError.
        """
        requests = [scored(text) for text in texts_of(input_ids)]
        return [cross_entropy(result) for result in self.engine.run(requests)]

    def close(self) -> None:
        """End running requests, threads and processes, and let the model go."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _has_template(self) -> bool:
        facts = self.engine.facts
        return bool(facts.chat_template or facts.named_chat_templates)

    def _asked(self, prompts: object, configs: Configs, has_template: bool) -> list[Asked]:
        conversations = read_prompts(prompts)
        if configs is None or isinstance(configs, GenerationConfig):
            configs = [configs or GenerationConfig()] * len(conversations)
        if len(configs) != len(conversations):
            raise ValueError(
                f"`gen_config` must be one, or one for each of {len(conversations)} prompts. "
                f"Given: {len(configs)}"
            )
        return [
            Asked(self._request(conversation, config, has_template), config)
            for conversation, config in zip(conversations, configs, strict=True)
        ]

    def _request(
        self, conversation: Conversation, config: GenerationConfig, has_template: bool
    ) -> Request:
        controls = controls_of(config, self._stop_words)
        request: Request = (
            templated(conversation, controls, self._fallback)
            if has_template
            else untemplated(conversation, controls)
        )
        return WithLogits(request) if config.output_logits else request

    def _whole(self, result: Result, index: int, config: GenerationConfig) -> Response:
        (generated,) = result.answers
        reader = AnswerReader(generated.request, index, self.engine.facts, config)
        return reader.read([*generated.tokens, generated.finish])

    def _stream(self, asked: Sequence[Asked]) -> Generator[Response, None, None]:
        if not asked:
            return
        requests = SideBySide([one.request for one in asked])
        with own_names(), self.engine.stream(requests) as stream:
            pairs = zip(stream.request.generations, asked, strict=True)
            readers = [
                AnswerReader(generation, index, self.engine.facts, one.config)
                for index, (generation, one) in enumerate(pairs)
            ]
            for index, items in stream:
                yield readers[index].read(items)


def _options(
    model: str | None,
    engine: EngineConfig,
    vision: VisionConfig,
    template: ChatTemplateConfig | None,
) -> EngineOptions:
    return EngineOptions(
        model=model,
        revision=engine.revision,
        num_shards=engine.tp,
        dtype=engine.dtype,
        device=engine.device,
        quantize=engine.quantize,
        num_blocks=engine.num_blocks,
        block_size=engine.block_size,
        max_total_tokens=engine.session_len,
        max_batch_size=engine.max_batch_size,
        max_batch_prefill_tokens=engine.max_prefill_token_num,
        has_prefix_cache=engine.enable_prefix_caching,
        max_images=vision.max_images,
        num_image_workers=vision.num_workers,
        max_batch_images=vision.max_batch_size,
        chat_template=None if template is None else template.to_jinja(),
    )


def _started(options: EngineOptions) -> OfflineEngine:
    """Raises EngineError, which names fields as an EngineConfig does."""
    try:
        return OfflineEngine(options)
    except EngineError as error:
        words = str(error).replace("--max-total-tokens", "`session_len`")
        raise EngineError(words) from error


def _turn(prompt: object, text: str) -> Conversation:
    answer = [{"role": "assistant", "content": text}] if text else []
    return [*read_prompt(prompt), *answer]


def _noted(
    session: Session, prompt: object, pieces: Generator[Response, None, None]
) -> Generator[Response, None, None]:
    """The pieces of a turn, which the session learns of once they are complete."""
    session.response = None
    found: list[Response] = []
    with closing(pieces):
        for piece in pieces:
            found.append(piece)
            yield piece
    session.response = joined(found)
    session.history.append((prompt, session.response.text))
