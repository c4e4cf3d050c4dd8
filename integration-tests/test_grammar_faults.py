"""A shard dies under an answer in a tight budget: it is the same, complete and valid."""

import json
import signal
from typing import Any

import jsonschema
from budgets import fewest_tokens
from harness import Server, serve, stream, wait_until

SCHEMA = {
    "type": "array",
    "items": {"type": "string", "maxLength": 8},
    "minItems": 150,
    "maxItems": 200,
}
GRAMMAR = {"type": "json", "value": SCHEMA}
DRAWN = {"do_sample": True, "temperature": 1.5, "seed": 7, "details": True, "grammar": GRAMMAR}


def test_a_tight_budget_holds_over_the_death_of_a_shard() -> None:
    with serve("--dtype", "float32") as server:
        budget = fewest_tokens(server, GRAMMAR) + 60
        undisturbed = list(stream(server, "a b c", max_new_tokens=budget, **DRAWN))
        disturbed = kill_in_the_midst(server, budget)
        assert ids(disturbed) == ids(undisturbed)
        last = disturbed[-1]
        jsonschema.validate(json.loads(last["generated_text"]), SCHEMA)
        assert last["details"]["generated_tokens"] == len(disturbed) <= budget
        assert last["details"]["finish_reason"] == "eos_token"
        assert last["details"]["grammar_shortened"] is True


def kill_in_the_midst(server: Server, budget: int) -> list[dict[str, Any]]:
    """The events of a stream whose shard dies after the first one."""
    events = stream(server, "a b c", max_new_tokens=budget, **DRAWN)
    first = next(events)
    (shard,) = server.children("inlay_shard")
    shard.send_signal(signal.SIGKILL)
    rest = list(events)
    wait_until(lambda: [child.pid for child in server.children("inlay_shard")] != [shard.pid])
    return [first, *rest]


def ids(events: list[dict[str, Any]]) -> list[int]:
    """Of the tokens."""
    return [event["token"]["id"] for event in events]
