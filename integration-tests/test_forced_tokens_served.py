"""Tokens that a grammar forces change no answer: alone, in a crowd, where blocks run out."""

import json
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest
from harness import EXAMPLES

from inlay import LLM, SamplingParams
from inlay_router.batching.batch_limits import BatchLimits
from inlay_router.telemetry.stats import Stats

SCENE = json.loads((EXAMPLES / "scene-grammar.json").read_text())["value"]
ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer_name": {"type": "string", "maxLength": 12},
        "shipping_address": {
            "type": "object",
            "properties": {"postal_code": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["postal_code"],
            "additionalProperties": False,
        },
        "status": {"enum": ["waiting for payment", "waiting for delivery", "delivered"]},
    },
    "required": ["customer_name", "shipping_address", "status"],
    "additionalProperties": False,
}
CONTROLS: list[dict[str, Any]] = [{"temperature": 0}]
CONTROLS += [{"temperature": 1.5, "seed": seed} for seed in range(2)]
KINDS = [(schema, controls) for schema in (ORDER, SCENE) for controls in CONTROLS]
PARAMS = [
    SamplingParams(max_tokens=120, grammar=json.dumps(schema), logprobs=2, **controls)
    for schema, controls in KINDS
]
PROMPTS = ["Extract the objects as JSON.\n\n" * (1 + place % 3) for place in range(len(PARAMS))]


def answers(llm: LLM, places: Sequence[int]) -> list[Any]:
    """Token ids, text, and what the model makes of each token, of the requests at `places`."""
    outputs = llm.generate(
        [PROMPTS[place] for place in places], [PARAMS[place] for place in places], use_tqdm=False
    )
    return [output.outputs[0] for output in outputs]


def stats(llm: LLM) -> Stats:
    return llm._engine.service.generation.stats


def test_with_and_without_them_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pool that makes sequences give way to each other in the middle of their answers."""
    everyone = range(len(PARAMS))
    with LLM(dtype="float32", num_threads=1, num_gpu_blocks_override=5) as llm:
        pressed = answers(llm, everyone)
        assert stats(llm).num_preemptions > 0
        alone = [answers(llm, [place])[0] for place in everyone[::4]]
        num_forced_tokens = stats(llm).num_forced_tokens
        assert num_forced_tokens > 100
        monkeypatch.setattr(BatchLimits, "forcing_of", lambda limits, request: None)
        without = [answers(llm, [place])[0] for place in everyone]
        assert stats(llm).num_forced_tokens == num_forced_tokens
    for one, other in zip([*pressed, *alone], [*without, *without[::4]], strict=True):
        assert one.token_ids == other.token_ids
        assert one.cumulative_logprob == pytest.approx(other.cumulative_logprob, abs=1e-2)
        assert [top.keys() for top in one.logprobs] == [top.keys() for top in other.logprobs]
    for one, (schema, _) in zip(pressed, KINDS, strict=True):
        jsonschema.validate(json.loads(one.text), schema)
