"""What the compile process does with a grammar that is new to it."""

from inlay_grammars.compiler import GrammarCompiler
from inlay_grammars.finishing import Finishing
from inlay_grammars.spec import GrammarSpec
from inlay_grammars.speed import refuse_slow
from inlay_grammars.verdict import Verdict


def trial(compiler: GrammarCompiler, finishing: Finishing, spec: GrammarSpec) -> Verdict:
    """Compile a grammar, and find out what the router wants to know of it.

    Raises:
        GrammarError: it is refused.
    """
    grammar = compiler.compile(spec)
    refuse_slow(grammar, compiler.tokens)
    return Verdict(
        warnings=grammar.template.warnings,
        backend=grammar.backend,
        lark=grammar.source.text if spec.kind == "grammar" else None,
        first_plan=finishing.first_plan(grammar),
    )
