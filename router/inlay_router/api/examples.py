"""A body of each kind, which `/docs` offers to be sent as it is."""

from typing import Any, Final

from inlay_router.api.platforms import VertexBody
from inlay_router.chat.body import ChatBody
from inlay_router.completion.body import CompletionBody
from inlay_router.schemas import GenerateBody

_PROMPT = "Tell me a story."
_GENERATE = {"inputs": _PROMPT, "parameters": {"max_new_tokens": 40}}

EXAMPLES: Final[dict[Any, Any]] = {
    GenerateBody: _GENERATE,
    ChatBody: {"messages": [{"role": "user", "content": _PROMPT}], "max_tokens": 40},
    CompletionBody: {"prompt": _PROMPT, "max_tokens": 40},
    VertexBody: {"instances": [_GENERATE]},
}
"""By the type that parses it."""
