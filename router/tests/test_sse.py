"""The bytes of single events."""

import pytest

from inlay_router.admission import ValidGenerateRequest
from inlay_router.config import Limits
from inlay_router.errors import GenerationFailed, IncompleteGeneration, RouterError
from inlay_router.request import Finish, FinishReason, GenerationRequest, Prompt, Token, TopToken
from inlay_router.schemas import GenerateBody, GenerateParameters, StreamEvent, TokenBody
from inlay_router.sse import TokenFrames, error_frame, frame
from inlay_router.validation import validate

LIMITS = Limits(max_input_tokens=10, max_total_tokens=20)
PROMPT = Prompt(token_ids=(1, 2, 3))
FINISH = Finish(reason=FinishReason.LENGTH, generated_text="ab", num_generated_tokens=2)


def frames(**parameters: object) -> TokenFrames:
    body = GenerateBody("say ", GenerateParameters(**parameters))  # type: ignore[arg-type]
    valid = validate(body, LIMITS, is_streaming=True)
    request = GenerationRequest(prompt=PROMPT, max_new_tokens=5, sampling=valid.sampling)
    return TokenFrames(
        ValidGenerateRequest(
            inputs=body.inputs, parameters=valid, prompt=PROMPT, generations=(request,)
        )
    )


def token(text: str, logprob: float = -0.5, top_tokens: tuple[TopToken, ...] = ()) -> Token:
    return Token(token_id=7, text=text, logprob=logprob, is_special=False, top_tokens=top_tokens)


def test_events_are_counted_over_all_writes() -> None:
    writer = frames()
    first = writer.write([token("a")])
    rest = writer.write([token("b"), token("c"), FINISH])
    assert first.startswith(b'data: {"index":1,')
    assert [part[:17] for part in rest.split(b"\n\n")] == [
        b'data: {"index":2,',
        b'data: {"index":3,',
        b"",
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("é🙂", "é🙂".encode()),
        ("\n\n", rb"\n\n"),
        ("\r", rb"\r"),
        ('"\\', rb"\"\\"),
        ("\u2028", "\u2028".encode()),
        ("\0", rb"\u0000"),
    ],
)
def test_an_event_is_one_line_of_utf8(text: str, written: bytes) -> None:
    event = frames().write([token(text)])
    assert b'"text":"%b"' % written in event
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 2


def test_what_is_no_number_is_null() -> None:
    assert b'"logprob":null' in frames().write([token("a", logprob=float("nan"))])


@pytest.mark.parametrize("logprob", [0.0, -0.0, -1e-7, -1.5e300, float("nan"), float("-inf")])
@pytest.mark.parametrize("text", ["a", "", "%d", 'é\n"'])
@pytest.mark.parametrize("is_special", [False, True])
def test_a_plain_event_is_what_its_type_says(text: str, logprob: float, is_special: bool) -> None:
    plain = Token(token_id=70_000, text=text, logprob=logprob, is_special=is_special)
    event = StreamEvent(index=1, token=TokenBody(70_000, text, logprob, is_special))
    assert frames().write([plain]) == frame(event)


def test_top_tokens_stand_between_token_and_text() -> None:
    top = TopToken(token_id=1, text="x", logprob=-1.0, is_special=True)
    assert frames().write([token("a", top_tokens=(top,))]) == (
        b'data: {"index":1,"token":{"id":7,"text":"a","logprob":-0.5,"special":false},'
        b'"top_tokens":[{"id":1,"text":"x","logprob":-1.0,"special":true}],'
        b'"generated_text":null,"details":null}\n\n'
    )


def test_the_last_event_has_the_text_and_what_was_asked_for() -> None:
    event = frames(details=True, do_sample=True, seed=9, return_full_text=True).write(
        [token("b"), FINISH]
    )
    assert event.endswith(
        b'"generated_text":"say ab","details":{"finish_reason":"length","generated_tokens":2,'
        b'"seed":9,"input_length":3}}\n\n'
    )


@pytest.mark.parametrize(
    ("error", "written"),
    [
        (
            GenerationFailed("it broke"),
            b'{"error":"Request failed during generation: it broke","error_type":"generation"}',
        ),
        (
            IncompleteGeneration(),
            b'{"error":"Incomplete generation stream","error_type":"incomplete_generation_stream"}',
        ),
    ],
)
def test_a_fault_is_an_event(error: RouterError, written: bytes) -> None:
    assert error_frame(error) == b"data: %b\n\n" % written
