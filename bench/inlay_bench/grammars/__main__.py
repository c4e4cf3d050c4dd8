"""Tries schemas in every backend, and says what became of them."""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from inlay_bench.batch import BenchFailed
from inlay_bench.grammars.answers import BUDGETS, measure_answers
from inlay_bench.grammars.batch_masks import measure_batch_masks
from inlay_bench.grammars.cases import COMMITTED, Case, read_collection, sample
from inlay_bench.grammars.contest import OURS, Contest
from inlay_bench.grammars.generated import generate_cases
from inlay_bench.grammars.options import GrammarsOptions, parse_options
from inlay_bench.grammars.results import CollectionResult, GrammarsResult, write_page
from inlay_bench.grammars.served import measure_served
from inlay_bench.grammars.side import Side
from inlay_bench.grammars.vocabularies import Vocabulary, embedded_vocabulary, large_vocabulary
from inlay_bench.progress import Progress
from inlay_bench.saved import describe_machine, now
from inlay_bench.serving.verb import run_bench
from inlay_grammars.pool import CompilePool

PACKAGES = ("outlines", "llguidance", "xgrammar", "outlines_core")


async def measure(options: GrammarsOptions) -> GrammarsResult:
    """Every part that was asked for. Raises BenchFailed."""
    vocabulary = choose_vocabulary(options)
    collections = gather(options)
    progress = Progress(10 * len(collections) + 2 + 3 * len(BUDGETS), sys.stderr)
    results, answers = [], None
    if "schemas" in options.parts:
        results = await measure_schemas(options, vocabulary, collections, progress)
    if "answers" in options.parts:
        cases = [case for each in collections.values() for case in each]
        answers = measure_answers(vocabulary, cases, options.num_answers, progress)
    batch_masks = None
    if "masks" in options.parts:
        cases = [case for each in collections.values() for case in each]
        batch_masks = measure_batch_masks(vocabulary, cases, options.num_rounds, progress)
    served = []
    if "served" in options.parts:
        cases = [case for each in collections.values() for case in each]
        served = await measure_served(cases, options.num_served, options.folder, progress)
    return GrammarsResult(
        when=now(),
        machine=describe_machine(),
        vocabulary=vocabulary.name,
        vocab_size=vocabulary.vocab_size,
        versions={name: version(name) for name in PACKAGES},
        collections=results,
        answers=answers,
        batch_masks=batch_masks,
        served=served,
    )


def choose_vocabulary(options: GrammarsOptions) -> Vocabulary:
    """That which was asked for. Raises BenchFailed."""
    if options.vocabulary == "embedded":
        return embedded_vocabulary()
    return large_vocabulary(options.folder)


async def measure_schemas(
    options: GrammarsOptions,
    vocabulary: Vocabulary,
    collections: Mapping[str, Sequence[Case]],
    progress: Progress,
) -> list[CollectionResult]:
    """All collections, in all backends. Raises BenchFailed."""
    results = []
    async with contest_of(options, vocabulary) as contest:
        for name, cases in collections.items():
            progress.note(f"{name}: {len(cases)} schemas")
            figures = await contest.run(cases, progress)
            results.append(CollectionResult(name=name, num_schemas=len(cases), sides=figures))
    return results


def gather(options: GrammarsOptions) -> dict[str, Sequence[Case]]:
    """The collections by name. Raises BenchFailed."""
    collections: dict[str, Sequence[Case]] = {
        "JSON Schema Test Suite": sample(read_collection(COMMITTED), options.num_cases),
        "generated": generate_cases(options.num_generated),
    }
    if options.path is not None:
        collections[options.path.name] = sample(read_collection(options.path), options.num_cases)
    return collections


@asynccontextmanager
async def contest_of(options: GrammarsOptions, vocabulary: Vocabulary) -> AsyncIterator[Contest]:
    """The backends that can be loaded, each in its process, and our compile pool."""
    async with AsyncExitStack() as stack:
        sides = []
        for name in options.sides:
            try:
                side = await Side.start(name, vocabulary)
            except BenchFailed as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            stack.push_async_callback(side.stop)
            sides.append(side)
        pool = CompilePool(
            vocabulary.tokenizer_json, vocabulary.vocab_size, vocabulary.eos_token_ids
        )
        await pool.start()
        stack.push_async_callback(pool.stop)
        limits = dict.fromkeys(options.sides, 60 * options.side_minutes) | {OURS: float("inf")}
        yield Contest(vocabulary, sides, pool, limits)


def main() -> int:
    """The exit code: 1 when the measurement failed."""
    options = parse_options()
    return run_bench("grammars", measure(options), write_page, options.folder)


if __name__ == "__main__":
    sys.exit(main())
