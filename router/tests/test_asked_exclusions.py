"""vLLM's fields that say what an answer may not hold, and what ends it."""

import asyncio
from typing import Any

import httpx
import pytest
from scripted_router import serve

from inlay_grammars.spec import GrammarSpec
from inlay_grammars.verdict import Verdict
from inlay_proto import generate_pb2 as pb
from inlay_router.links.scripted_shard import scripted_facts, spell

END_ID = 257
"""`</s>` of the scripted model."""
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


class Grammars:
    """Accepts every grammar."""

    async def check(self, spec: GrammarSpec) -> Verdict:
        """See CompilePool."""
        return Verdict()


def ask(path: str, **fields: Any) -> tuple[httpx.Response, list[pb.Sampling]]:
    """The answer, and what the shard was told."""
    start: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
    body = {**(start if "chat" in path else {"prompt": "x"}), "max_tokens": 9, **fields}

    async def scenario() -> tuple[httpx.Response, list[pb.Sampling]]:
        facts = scripted_facts()
        facts.chat_template = TEMPLATE
        served = serve(spell("hello"), facts=facts, grammars=Grammars())
        async with served as edge, edge.client as client:
            response = await client.post(path, json=body)
            return response, [one.sampling for step in edge.link.steps for one in step.joining]

    return asyncio.run(scenario())


BOTH = pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])


@BOTH
def test_shards_are_told_what_an_answer_may_not_hold(path: str) -> None:
    fields = {"min_tokens": 3, "bad_words": ["no"], "allowed_token_ids": [104, 104, 105], "n": 2}
    response, samplings = ask(path, **fields, temperature=1.0, seed=5)
    assert response.status_code == 200
    assert [sampling.seed for sampling in samplings] == [5, 6]
    for sampling in samplings:
        assert (sampling.min_tokens, list(sampling.late_token_ids)) == (3, [END_ID])
        assert list(sampling.allowed_token_ids) == [104, 105]
        assert len(sampling.bad_runs) == 2  # alone, and behind a space


@BOTH
def test_an_end_may_be_ignored(path: str) -> None:
    (sampling,) = ask(path, ignore_eos=True)[1]
    assert sampling.min_tokens > 1 << 30
    assert list(sampling.late_token_ids) == [END_ID]


@BOTH
@pytest.mark.parametrize("is_streaming", [False, True])
def test_a_stop_token_ends_the_answer_and_is_left_out(path: str, is_streaming: bool) -> None:
    stop_id = ord("l") - ord("!")  # the first letters of the vocabulary are those behind a blank
    response, _ = ask(path, stop_token_ids=[stop_id], stream=is_streaming)
    assert '"he"' in response.text or ('"h"' in response.text and '"e"' in response.text)
    assert '"l"' not in response.text
    assert '"finish_reason":"stop"' in response.text


@BOTH
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"min_tokens": -1}, "`min_tokens` must be >= 0 and <= `max_tokens` (9). Given: -1"),
        ({"min_tokens": 10}, "`min_tokens` must be >= 0 and <= `max_tokens` (9). Given: 10"),
        ({"min_tokens": 1, "stop": "x"}, "`min_tokens` cannot be set together with `stop`"),
        ({"stop_token_ids": [259]}, "`stop_token_ids` must be >= 0 and < 259. Given: 259"),
        ({"allowed_token_ids": [-1]}, "`allowed_token_ids` must be >= 0 and < 259. Given: -1"),
        ({"bad_words": ["x"] * 129}, "`bad_words` supports up to 128. Given: 129"),
        ({"bad_words": [" "]}, "`bad_words` must hold texts of 1 to 256 characters"),
        ({"bad_words": ["x" * 257]}, "`bad_words` must hold texts of 1 to 256 characters"),
        ({"ignore_eos": True, "guided_regex": "a"}, "cannot be set with a grammar or tools"),
    ],
)
def test_what_cannot_be_is_refused(path: str, fields: dict[str, Any], words: str) -> None:
    response, samplings = ask(path, **fields)
    assert (response.status_code, samplings) == (422, [])
    assert words in response.json()["error"]
