"""vLLM's spelling of what an answer is held to."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from inlay.offline import answer_grammar
from inlay_router.schemas import GrammarBody

_ANY_OBJECT = {"type": "object"}


@dataclass(frozen=True, kw_only=True)
class StructuredOutputsParams:
    """Exactly one of these. Raises ValueError for none or several."""

    json: str | Mapping[str, Any] | None = None
    """A JSON schema, as text or as a dict; or a pydantic model."""
    regex: str | None = None
    choice: Sequence[str] | None = None
    """Texts to choose from."""
    grammar: str | None = None
    """A context-free grammar in GBNF or Lark."""
    json_object: bool | None = None
    """Any JSON object."""

    def __post_init__(self) -> None:
        names = [entry.name for entry in fields(self) if getattr(self, entry.name) is not None]
        if len(names) != 1:
            given = ", ".join(f"`{name}`" for name in names) or "none"
            raise ValueError(f"`structured_outputs` needs exactly one constraint. Given: {given}")

    def grammar_body(self) -> GrammarBody:
        """As the engine takes it."""
        if self.regex is not None:
            return answer_grammar.regex(self.regex)
        if self.choice is not None:
            return answer_grammar.choice(self.choice)
        if self.grammar is not None:
            return answer_grammar.context_free(self.grammar)
        if isinstance(self.json, str):
            return answer_grammar.schema(self.json)
        if self.json is not None:
            return answer_grammar.grammar_body(self.json)
        return answer_grammar.schema(json.dumps(_ANY_OBJECT))


GuidedDecodingParams = StructuredOutputsParams
"""As vLLM called it before, given as `guided_decoding`."""
