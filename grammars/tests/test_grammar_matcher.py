"""A matcher goes on by allowed tokens, takes them back, and says what is wrong."""

import random

import pytest
from tokenizers import Tokenizer

from inlay_grammars.backends import llguidance
from inlay_grammars.backends.llguidance_state import LLGuidanceState
from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.mask import BatchMask
from inlay_grammars.matcher import Matcher
from inlay_grammars.spec import GrammarError, GrammarSpec

PERSON = (
    '{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},'
    ' "required": ["name", "age"], "additionalProperties": false}'
)


@pytest.fixture
def person(compiler: GrammarCompiler) -> Matcher:
    return compiler.compile(GrammarSpec("json", PERSON)).matcher()


def native_of(matcher: Matcher) -> object:
    assert isinstance(matcher.state, LLGuidanceState)
    return matcher.state.native


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    token_ids: list[int] = tokenizer.encode(text).ids
    return token_ids


def test_follows_an_answer_to_its_end(person: Matcher, tokenizer: Tokenizer) -> None:
    assert repr(person) == "<Matcher open after 0 tokens>"
    person.consume(ids(tokenizer, '{"name": "Ada", "age": 36'))
    assert not person.is_accepting
    person.consume(ids(tokenizer, "}"))
    assert (person.is_accepting, person.is_stopped, person.error) == (True, True, None)


def test_an_answer_may_be_complete_and_go_on(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(GrammarSpec("regex", "[0-9]+")).matcher()
    matcher.consume(ids(tokenizer, "7"))
    assert (matcher.is_accepting, matcher.is_stopped) == (True, False)


def test_refused_tokens_change_nothing(person: Matcher, tokenizer: Tokenizer) -> None:
    person.consume(ids(tokenizer, '{"name"'))
    before = repr(person)
    for refused in (ids(tokenizer, ': "Ada", x'), [998], [5_000_000], [-1], [2**40]):
        with pytest.raises(GrammarError):
            person.consume(refused)
    assert repr(person) == before
    person.consume(ids(tokenizer, ': "Ada", "age": 36}'))
    assert person.is_stopped


def test_a_refusal_names_the_token_and_its_place(person: Matcher, tokenizer: Tokenizer) -> None:
    opening = ids(tokenizer, '{"name"')
    wrong = ids(tokenizer, "x")
    message = f"token {wrong[0]} is not allowed by the grammar after {len(opening)} tokens"
    with pytest.raises(GrammarError, match=message):
        person.consume(opening + wrong)


def test_an_end_token_is_no_text(
    person: Matcher, tokenizer: Tokenizer, eos_token_ids: list[int]
) -> None:
    for token_id in (*eos_token_ids, *ids(tokenizer, "<image>")):
        for text in ("", '{"name": "'):
            matcher = person.copy()
            matcher.consume(ids(tokenizer, text))
            with pytest.raises(GrammarError, match="not allowed"):
                matcher.consume([token_id])


def test_takes_tokens_back(person: Matcher, tokenizer: Tokenizer) -> None:
    answer = ids(tokenizer, '{"name": "Ada", "age": 36}')
    person.consume(answer)
    person.rollback(len(answer))
    assert repr(person) == "<Matcher open after 0 tokens>"
    person.consume(answer[:5])
    person.rollback(0)
    person.consume(answer[5:])
    assert person.is_stopped


@pytest.mark.parametrize("num_tokens", [3, -1])
def test_cannot_take_back_what_was_not_consumed(
    person: Matcher, tokenizer: Tokenizer, num_tokens: int
) -> None:
    person.consume(ids(tokenizer, "{")[:1])
    with pytest.raises(ValueError, match="cannot take back"):
        person.rollback(num_tokens)
    assert person.error is None


def test_copies_go_their_own_way(person: Matcher, tokenizer: Tokenizer) -> None:
    person.consume(ids(tokenizer, '{"name": "A'))
    twin = person.copy()
    twin.consume(ids(tokenizer, 'da", "age": 36}'))
    person.consume(ids(tokenizer, "lan"))
    assert (twin.is_stopped, person.is_stopped) == (True, False)
    twin.rollback(1)
    assert not twin.is_stopped


def test_forced_tokens_are_those_that_the_tokenizer_would_give(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(GrammarSpec("regex", "the quick (brown|black)")).matcher()
    forced = matcher.forced_tokens()
    assert forced == ids(tokenizer, "the quick brown")[: len(forced)]
    assert forced
    matcher.consume(forced)
    assert matcher.forced_tokens() == []


def test_a_sequence_that_grows_too_complex_fails_alone(
    compiler: GrammarCompiler, tokenizer: Tokenizer
) -> None:
    matcher = compiler.compile(GrammarSpec("regex", "(a{1,1000}){1,1000}")).matcher()
    mask = BatchMask(1, 1003)
    a = ids(tokenizer, "a")
    errors: dict[int, str] = {}
    for _ in range(1000):
        if errors := mask.fill({0: matcher}):
            break
        matcher.consume(a)
    assert "too many expressions" in errors[0]
    assert matcher.error == errors[0]
    assert not (matcher.is_accepting or matcher.is_stopped)
    assert mask.fill({0: matcher}) == errors
    assert (
        mask.fill({0: compiler.compile(GrammarSpec("regex", "(a{1,1000}){1,1000}")).matcher()})
        == {}
    )


def test_a_worn_out_template_is_renewed(
    compiler: GrammarCompiler, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies share lexer states and the bound on them: without renewal, all would fail at once."""
    monkeypatch.setattr(llguidance, "MAX_LEXER_STATES", 2000)
    grammar = compiler.compile(GrammarSpec("regex", "(a|b)*a(a|b){20}"))
    mask = BatchMask(2, 1003)
    neighbour = grammar.matcher()
    neighbour.consume(ids(tokenizer, "ab"))
    letters = ids(tokenizer, "a") + ids(tokenizer, "b")
    chance = random.Random(1)
    start = native_of(neighbour)
    for _ in range(50):
        matcher = grammar.matcher()
        for _ in range(100):
            assert mask.fill({0: matcher, 1: neighbour}) == {}
            matcher.consume([chance.choice(letters)])
    assert native_of(neighbour) is not start
    assert repr(neighbour) == "<Matcher open after 2 tokens>"
