"""What the grammar bench found out, and the page that says it."""

from collections.abc import Iterator, Sequence

import msgspec

from inlay_bench.grammars.tally import SideFigures, at
from inlay_bench.serving.quantiles import quantile


class CollectionResult(msgspec.Struct, frozen=True, kw_only=True):
    """All backends over one collection of schemas."""

    name: str
    num_schemas: int
    sides: list[SideFigures]


class AnswerFigures(msgspec.Struct, kw_only=True):
    """All answers with one kind of budget."""

    budget: str
    num_answers: int = 0
    num_valid: int = 0
    """Ended within the budget, and valid under `jsonschema`, formats included."""
    num_invalid: int = 0
    num_cut: int = 0
    """Not ended within the budget."""
    num_broken: int = 0
    """Ended by an error of the grammar."""
    num_tokens: int = 0
    seconds: float = 0.0
    """Of masks, choices and the guard."""
    wrong: list[str] = msgspec.field(default_factory=list)


class AnswersResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answers to many schemas."""

    num_schemas: int
    num_without_plan: int
    """Schemas for which no complete answer was found in time; they are not in the figures."""
    plan_tokens: list[int]
    """Of the shortest answer found to each other schema."""
    plan_ms: list[float]
    """To find it."""
    budgets: list[AnswerFigures]


class ServedResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of one model behind a server."""

    model: str
    num_schemas: int
    budgets: list[AnswerFigures]


class BatchMasksResult(msgspec.Struct, frozen=True, kw_only=True):
    """Masks of a whole batch, step by step along valid instances of as many schemas."""

    num_rows: int
    num_compared: int
    num_different: int
    """Rows whose mask was not that of Outlines' own processor."""
    step_us: list[float]
    """Of a step: every matcher goes on by its token, and every mask is filled."""
    outlines_step_us: list[float]
    """The same by one logits processor of Outlines for each row, which writes logits."""


class GrammarsResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    when: str
    machine: str
    vocabulary: str
    vocab_size: int
    versions: dict[str, str]
    collections: list[CollectionResult]
    answers: AnswersResult | None = None
    batch_masks: BatchMasksResult | None = None
    served: list[ServedResult] = []


HEADINGS = (
    *("", "schemas", "held", "refused", "time", "memory", "crash", "passing"),
    *("valid accepted", "invalid accepted"),
    *("compile ms p50", "p99", "max", "mask µs p50", "p99", "max"),
)
MAX_REASONS = 12
MAX_WRONG = 5


def write_page(result: GrammarsResult) -> str:
    """The tables for people."""
    lines = [f"{result.vocabulary} vocabulary of {result.vocab_size:,} tokens, {result.machine}"]
    for collection in result.collections:
        lines += ["", *write_collection(collection)]
    if result.answers is not None:
        lines += ["", *write_answers(result.answers)]
    if result.batch_masks is not None:
        lines += ["", *write_batch_masks(result.batch_masks)]
    for served in result.served:
        lines += ["", f"{served.model} model, served, {served.num_schemas} schemas"]
        lines += write_budgets(served.budgets)
    return "\n".join(lines)


def write_collection(collection: CollectionResult) -> Iterator[str]:
    """One table, and why ours refuses what it refuses."""
    yield f"{collection.name}: {collection.num_schemas} schemas"
    rows = [HEADINGS, *(_cells(side) for side in collection.sides)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
    for side in collection.sides:
        reasons = list(side.reasons.items())[:MAX_REASONS]
        yield f"{side.side} refuses: " + (", ".join(f"{k} {n}" for k, n in reasons) or "nothing")
        if side.under:
            yield f"{side.side} lets something invalid pass: {', '.join(side.under[:8])}"


def write_answers(answers: AnswersResult) -> Iterator[str]:
    """One line a budget."""
    tokens = answers.plan_tokens
    yield (
        f"random answers to {answers.num_schemas} schemas; no way to an end was found in"
        f" {answers.num_without_plan} of them"
    )
    yield (
        f"shortest answer found: {quantile(tokens, 0.5)} tokens at the median, {max(tokens)} at"
        f" most, in {quantile(answers.plan_ms, 0.5):.1f} ms, {max(answers.plan_ms):.0f} at most"
    )
    yield from write_budgets(answers.budgets)


def write_budgets(budgets: Sequence[AnswerFigures]) -> Iterator[str]:
    """One line a budget, and some of what went wrong."""
    for each in budgets:
        yield (
            f"  budget {each.budget}: {each.num_answers} answers, {each.num_valid} valid,"
            f" {each.num_invalid} invalid, {each.num_cut} not ended, {each.num_broken} broken off;"
            f" {1e6 * each.seconds / max(1, each.num_tokens):.0f} µs a token"
        )
        yield from (f"    {words}" for words in each.wrong[:MAX_WRONG])


def write_batch_masks(masks: BatchMasksResult) -> Iterator[str]:
    """What a row costs, ours and Outlines', and whether they agree."""
    yield (
        f"batches of {masks.num_rows} rows: {masks.num_different} of {masks.num_compared} masks"
        " differ from those of Outlines' own processors"
    )
    for name, steps in (("one call", masks.step_us), ("processors", masks.outlines_step_us)):
        shares = [quantile(steps, share) / masks.num_rows for share in (0.5, 0.99, 1.0)]
        cells = ", ".join(f"{each:.1f}" for each in shares)
        yield f"  {name}: µs a row, p50, p99, max of {len(steps)} steps: {cells}"


def _cells(side: SideFigures) -> Sequence[str]:
    counts = [side.outcomes.get(each, 0) for each in ("held", "refused", "time", "memory", "crash")]
    compile_ms = [at(side.compile_ms, share) for share in (0.5, 0.99, 1.0)]
    mask_us = [at(side.mask_us, share) for share in (0.5, 0.99, 1.0)]
    return (
        side.side,
        *map(str, (side.num_schemas, *counts)),
        f"{side.num_passing} ({side.num_passing / max(1, side.num_schemas):.1%})",
        f"{side.num_valid_accepted}/{side.num_valid}",
        f"{side.num_invalid_accepted}/{side.num_invalid}",
        *(f"{each:.1f}" for each in (*compile_ms, *mask_us)),
    )
