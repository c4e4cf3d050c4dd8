"""From what a client sent to what can be served: every range, in TGI's order and words. No I/O."""

import math
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass

from inlay_proto import generate_pb2 as pb
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.grammar import grammar_of
from inlay_router.schemas import GenerateBody, GenerateParameters

NUM_SEEDS = 1 << 64
"""Seeds are below."""

_MAX_BIASES = 300
"""Tokens that `logit_bias` may name, as many as OpenAI allows; each is read in every step."""

_MAX_STOP_CHARACTERS = 4096
"""Of one string in `stop`; the end of the answer is compared with each after every token."""

_MIN_TEMPERATURE = 1e-5
"""Below, the most likely token is as good as certain, and quotients overflow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidParameters:
    """The parameters of a request, in range; the length of the prompt is not known yet."""

    best_of: int
    """Generations to run; their seeds differ."""
    sampling: pb.Sampling
    """Of the first generation; its seed is drawn when the client gave none."""
    max_new_tokens: int | None
    """None: whatever is left."""
    budget_name: str
    """What the client calls `max_new_tokens`."""
    truncate: int | None
    """Keep this many tokens at the end of the prompt."""
    stop: tuple[str, ...]
    top_n_tokens: int
    grammar: pb.Grammar | None
    """Not compiled yet."""
    wants_details: bool
    wants_prefill: bool
    returns_full_text: bool

    def samplings(self) -> list[pb.Sampling]:
        """One for each of the `best_of` generations."""
        samplings = [self.sampling]
        for _ in range(1, self.best_of):
            other = pb.Sampling()
            other.CopyFrom(self.sampling)
            other.seed = secrets.randbelow(NUM_SEEDS)
            samplings.append(other)
        return samplings


def validate(body: GenerateBody, limits: Limits, *, is_streaming: bool) -> ValidParameters:
    """Check all that can be checked before the prompt is tokenised. Raises ValidationError."""
    # Without `parameters` TGI samples; with them, even empty ones, it does not.
    asked = body.parameters or GenerateParameters(do_sample=True)
    if is_streaming:
        _check_streaming(asked)
    parameters = validate_parameters(asked, limits)
    _check(body.inputs != "", "`inputs` cannot be empty")
    return parameters


def validate_parameters(
    asked: GenerateParameters, limits: Limits, *, budget_name: str = "max_new_tokens"
) -> ValidParameters:
    """The same without the prompt, for routes that have another. Raises ValidationError.

    budget_name: what the client calls `max_new_tokens`.
    """
    best_of = _best_of(asked, limits)
    sampling = _sampling(asked)
    _bias(sampling, asked.logit_bias or {}, limits)
    wanted = asked.max_new_tokens
    _check(
        wanted is None or wanted > 0, f"`{budget_name}` must be strictly positive. Given: {wanted}"
    )
    stop = _stop(asked, limits)
    _draw_seed(sampling, asked, best_of)
    top_n_tokens = _top_n_tokens(asked, limits)
    _check_truncate(asked.truncate, limits)
    _check(asked.adapter_id is None, "`adapter_id` must be null: this server has no adapters")
    return ValidParameters(
        best_of=best_of,
        sampling=sampling,
        max_new_tokens=asked.max_new_tokens,
        budget_name=budget_name,
        truncate=asked.truncate,
        stop=stop,
        top_n_tokens=top_n_tokens,
        grammar=grammar_of(asked.grammar, limits) if asked.grammar else None,
        wants_details=bool(asked.details or asked.decoder_input_details),
        wants_prefill=bool(asked.decoder_input_details),
        returns_full_text=bool(asked.return_full_text),
    )


def fit_answer(
    num_prompt_tokens: int,
    max_new_tokens: int | None,
    limits: Limits,
    *,
    budget_name: str = "max_new_tokens",
) -> int:
    """How many tokens may follow the prompt, at least 1. Raises ValidationError."""
    left = limits.max_total_tokens - num_prompt_tokens
    wanted = max(left, 0) if max_new_tokens is None else max_new_tokens
    is_said = max_new_tokens is not None or budget_name == "max_new_tokens"
    _check(  # TGI's words speak of `max_new_tokens` also where there is none
        wanted <= left or not is_said,
        f"`inputs` tokens + `{budget_name}` must be <= {limits.max_total_tokens}. "
        f"Given: {num_prompt_tokens} `inputs` tokens and {wanted} `{budget_name}`",
    )
    _check(
        num_prompt_tokens <= limits.max_input_tokens,
        f"`inputs` must have less than {limits.max_input_tokens} tokens. "
        f"Given: {num_prompt_tokens}",
    )
    _check(num_prompt_tokens > 0, "`inputs` cannot be empty")
    return wanted


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValidationError(otherwise)


def _check_streaming(asked: GenerateParameters) -> None:
    _check(asked.best_of in (None, 1), "`best_of` != 1 is not supported when streaming tokens")
    _check(
        not asked.decoder_input_details,
        "`decoder_input_details` == true is not supported when streaming tokens",
    )


def _best_of(asked: GenerateParameters, limits: Limits) -> int:
    best_of = 1 if asked.best_of is None else asked.best_of
    if limits.max_best_of == 1:
        _check(best_of == 1, "`best_of` != 1 is not allowed for this endpoint")
    _check(
        0 < best_of <= limits.max_best_of,
        f"`best_of` must be > 0 and <= {limits.max_best_of}. Given: {best_of}",
    )
    warpers = (asked.temperature, asked.top_k, asked.top_p, asked.typical_p, asked.min_p)
    can_differ = asked.do_sample or any(value is not None for value in warpers)
    _check(best_of == 1 or bool(can_differ), "you must use sampling when `best_of` is > 1")
    return best_of


def _sampling(asked: GenerateParameters) -> pb.Sampling:
    temperature = _number(asked.temperature, "temperature", "strictly positive", _is_positive)
    if temperature is not None:
        temperature = max(temperature, _MIN_TEMPERATURE)
    repetition_penalty = _number(
        asked.repetition_penalty, "repetition_penalty", "strictly positive", _is_positive
    )
    frequency_penalty = _number(
        asked.frequency_penalty, "frequency_penalty", ">= -2.0 and <= 2.0", _is_within_two
    )
    presence_penalty = _number(
        asked.presence_penalty, "presence_penalty", ">= -2.0 and <= 2.0", _is_within_two
    )
    top_p = _number(asked.top_p, "top_p", "> 0.0 and < 1.0", _is_share)
    typical_p = _number(asked.typical_p, "typical_p", "> 0.0 and < 1.0", _is_share)
    min_p = _number(asked.min_p, "min_p", ">= 0.0 and <= 1.0", _is_zero_to_one)
    top_k = asked.top_k
    _check(top_k is None or top_k > 0, f"`top_k` must be strictly positive. Given: {top_k}")
    _check(top_k is None or top_k < 1 << 31, f"`top_k` must be < 2147483648. Given: {top_k}")
    is_warped = temperature not in (None, 1.0) or any((top_k, top_p, typical_p, min_p))
    return pb.Sampling(
        do_sample=bool(asked.do_sample or is_warped),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        typical_p=typical_p,
        min_p=min_p or None,
        repetition_penalty=repetition_penalty,
        frequency_penalty=frequency_penalty,
        presence_penalty=presence_penalty,
        watermark=bool(asked.watermark),
    )


def _bias(sampling: pb.Sampling, logit_bias: dict[int, float], limits: Limits) -> None:
    _check(
        len(logit_bias) <= _MAX_BIASES,
        f"`logit_bias` supports up to {_MAX_BIASES} tokens. Given: {len(logit_bias)}",
    )
    for token_id, bias in logit_bias.items():
        _check(
            0 <= token_id < limits.vocab_size,
            f"`logit_bias` must name token ids >= 0 and < {limits.vocab_size}. Given: {token_id}",
        )
        _check(-100 <= bias <= 100, f"`logit_bias` must be >= -100 and <= 100. Given: {bias}")
    sampling.biased_token_ids.extend(logit_bias.keys())
    sampling.token_biases.extend(logit_bias.values())


def _is_positive(value: float) -> bool:
    return value > 0


def _is_share(value: float) -> bool:
    return 0 < value < 1


def _is_zero_to_one(value: float) -> bool:
    return 0 <= value <= 1


def _is_within_two(value: float) -> bool:
    return -2 <= value <= 2


def _number(
    value: float | None, name: str, words: str, is_allowed: Callable[[float], bool]
) -> float | None:
    """`value` as the nearest 32-bit float, which is what the model computes with."""
    if value is None:
        return None
    try:
        (single,) = struct.unpack("f", struct.pack("f", value))
    except OverflowError:
        single = math.copysign(math.inf, value)
    _check(is_allowed(single), f"`{name}` must be {words}. Given: {value}")
    _check(math.isfinite(single), f"`{name}` must fit a 32-bit float. Given: {value}")
    return float(single)


def _stop(asked: GenerateParameters, limits: Limits) -> tuple[str, ...]:
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    _check(
        len(stop) <= limits.max_stop_sequences,
        f"`stop` supports up to {limits.max_stop_sequences} stop sequences. Given: {len(stop)}",
    )
    _check("" not in stop, "`stop` cannot hold an empty string")
    longest = max(map(len, stop), default=0)
    _check(
        longest <= _MAX_STOP_CHARACTERS,
        f"a string of `stop` may have up to {_MAX_STOP_CHARACTERS} characters. Given: {longest}",
    )
    return stop


def _draw_seed(sampling: pb.Sampling, asked: GenerateParameters, best_of: int) -> None:
    _check(asked.seed is None or best_of == 1, "`seed` must not be set when `best_of` > 1")
    seed = secrets.randbelow(NUM_SEEDS) if asked.seed is None else asked.seed
    _check(0 <= seed < NUM_SEEDS, f"`seed` must be >= 0 and < 2**64. Given: {seed}")
    sampling.seed = seed


def _top_n_tokens(asked: GenerateParameters, limits: Limits) -> int:
    top_n_tokens = asked.top_n_tokens or 0
    _check(
        0 <= top_n_tokens <= limits.max_top_n_tokens,
        f"`top_n_tokens` must be >= 0 and <= {limits.max_top_n_tokens}. Given: {top_n_tokens}",
    )
    return top_n_tokens


def _check_truncate(truncate: int | None, limits: Limits) -> None:
    _check(
        truncate is None or 0 < truncate <= limits.max_input_tokens,
        f"`truncate` must be strictly positive and less than {limits.max_input_tokens}. "
        f"Given: {truncate}",
    )
