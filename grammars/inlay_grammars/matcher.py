"""The state of a grammar for one sequence."""

from collections.abc import Sequence

from llguidance import LLMatcher

from inlay_grammars.spec import GrammarError
from inlay_grammars.template import Template, reason


class Matcher:
    """Follows one sequence through its grammar. For one thread at a time.

    End tokens are not part of a grammar's text: a sequence that chose one has ended.
    """

    __slots__ = ("_generation", "_native", "_template", "_token_ids")

    def __init__(self, template: Template) -> None:
        """Before the first token. Takes 1-3 µs."""
        self._template = template
        self._native, self._generation = template.start()
        self._token_ids: list[int] = []

    def __repr__(self) -> str:
        states = {"error": self.error, "stopped": self.is_stopped, "accepting": self.is_accepting}
        words = ", ".join(name for name, holds in states.items() if holds)
        return f"<Matcher {words or 'open'} after {len(self._token_ids)} tokens>"

    @property
    def native(self) -> LLMatcher:
        """What llguidance works on, until the next call of `renew`."""
        return self._native

    @property
    def text_end_ids(self) -> tuple[int, ...]:
        """End tokens that `native` takes for plain text; a mask has to correct them."""
        return self._template.text_end_ids

    @property
    def error(self) -> str | None:
        """Why this matcher cannot go on; None while it can."""
        return reason(self._native.get_error()) if self._native.is_error() else None

    @property
    def is_accepting(self) -> bool:
        """The text so far is a complete answer; it may be one that can go on."""
        return not self._native.is_error() and self._native.is_accepting()

    @property
    def is_stopped(self) -> bool:
        """The text so far is a complete answer and nothing may follow."""
        return not self._native.is_error() and self._native.is_stopped()

    def consume(self, token_ids: Sequence[int]) -> None:
        """Go on by these tokens: by all of them, or by none if one is refused.

        Raises:
            GrammarError: a token is not allowed here, or the grammar became too complex to follow.
        """
        num_taken = self._try_consume(token_ids)
        if self._native.is_error():
            self.renew()
            num_taken = self._try_consume(token_ids)
        if error := self.error:
            self.renew()
            raise GrammarError(f"the grammar cannot be followed any further: {error}")
        if num_taken < len(token_ids):
            self._native.rollback(num_taken)
            raise GrammarError(
                f"token {token_ids[num_taken]} is not allowed by the grammar "
                f"after {len(self._token_ids) + num_taken} tokens"
            )
        self._token_ids += token_ids

    def _try_consume(self, token_ids: Sequence[int]) -> int:
        try:
            return self._native.try_consume_tokens(list(token_ids))
        except OverflowError:
            raise GrammarError("a token id is negative or exceeds 32 bits") from None

    def rollback(self, num_tokens: int) -> None:
        """Take back the last `num_tokens` tokens consumed.

        Raises:
            ValueError: fewer were consumed.
        """
        num_kept = len(self._token_ids) - num_tokens
        if num_tokens < 0 or num_kept < 0:
            raise ValueError(f"cannot take back {num_tokens} of {len(self._token_ids)} tokens")
        self._native.rollback(num_tokens)
        del self._token_ids[num_kept:]

    def forced_tokens(self) -> list[int]:
        """The tokens that must come next, tokenised as the tokenizer would; often none."""
        return self._native.compute_ff_tokens()

    def renew(self) -> None:
        """Start over and consume the same tokens: an error that remains is this sequence's own.

        Raises:
            GrammarError: the grammar does not compile any more.
        """
        self._template.renew(self._generation)
        self._native, self._generation = self._template.start()
        self._native.consume_tokens(self._token_ids)

    def copy(self) -> "Matcher":
        """A matcher in the same state that goes its own way. Takes 1-3 µs."""
        twin = Matcher.__new__(Matcher)
        twin._template, twin._generation = self._template, self._generation
        twin._native, twin._token_ids = self._native.deep_copy(), self._token_ids.copy()
        return twin
