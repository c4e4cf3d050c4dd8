"""From the body of a request to generations that can run: what of validation needs I/O."""

from dataclasses import dataclass

from prometheus_client import Histogram

from inlay_grammars.pool import CompilePool
from inlay_grammars.spec import GrammarError
from inlay_grammars.verdict import Verdict
from inlay_proto import generate_pb2 as pb
from inlay_router.config import Limits
from inlay_router.errors import ValidationError
from inlay_router.finishing import finishing_of
from inlay_router.grammar import accepted, spec_of
from inlay_router.prompt import PromptReader
from inlay_router.request import GenerationRequest, Prompt
from inlay_router.schemas import GenerateBody
from inlay_router.telemetry.stages import stage
from inlay_router.validation import ValidParameters, fit_answer, validate


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidGenerateRequest:
    """A request that will be served."""

    inputs: str
    """As the client wrote it, images included."""
    parameters: ValidParameters
    prompt: Prompt
    generations: tuple[GenerationRequest, ...]
    """One for each of `best_of`."""
    grammar_warnings: tuple[str, ...] = ()
    """What its grammar says and the answer need not follow; only where it asked for leniency."""

    def full_text(self, generated_text: str) -> str:
        """What the client gets to see as the text."""
        return self.inputs + generated_text if self.parameters.returns_full_text else generated_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Lets requests in."""

    limits: Limits
    prompts: PromptReader
    grammars: CompilePool | None
    """None when no request may carry a grammar."""
    grammar_seconds: Histogram
    """How long grammars take to be compiled, or found compiled."""

    async def admit(self, body: GenerateBody, *, is_streaming: bool) -> ValidGenerateRequest:
        """Everything that can be wrong with a request is found here, in TGI's order.

        Raises ValidationError, and what preparing images raises.
        """
        parameters = validate(body, self.limits, is_streaming=is_streaming)
        prompt = await self.prompts.read(body.inputs, truncate=parameters.truncate)
        return await self.admit_prompt(body.inputs, parameters, prompt)

    async def admit_prompt(
        self, inputs: str, parameters: ValidParameters, prompt: Prompt
    ) -> ValidGenerateRequest:
        """The same for a prompt already read; `inputs` is its text. Raises ValidationError."""
        budget_name = parameters.budget_name
        max_new_tokens = fit_answer(
            len(prompt.token_ids), parameters.max_new_tokens, self.limits, budget_name=budget_name
        )
        finishing, grammar = None, parameters.grammar
        warnings: tuple[str, ...] = ()
        if grammar is not None:
            verdict = await self._check_grammar(grammar)
            warnings = verdict.warnings
            grammar = accepted(grammar, verdict)
            if self.limits.finishes_in_budget:
                finishing = finishing_of(verdict.first_plan, max_new_tokens, budget_name)
        return ValidGenerateRequest(
            inputs=inputs,
            parameters=parameters,
            prompt=prompt,
            generations=tuple(
                GenerationRequest(
                    prompt=prompt,
                    max_new_tokens=max_new_tokens,
                    budget_name=budget_name,
                    sampling=sampling,
                    grammar=grammar,
                    finishing=finishing,
                    stop=parameters.stop,
                    top_n_tokens=parameters.top_n_tokens,
                    wants_prompt_logprobs=parameters.wants_prefill,
                )
                for sampling in parameters.samplings()
            ),
            grammar_warnings=warnings,
        )

    async def _check_grammar(self, grammar: pb.Grammar) -> Verdict:
        if self.grammars is None:
            raise ValidationError("grammar is not supported")
        try:
            with self.grammar_seconds.time(), stage("grammar_check"):
                return await self.grammars.check(spec_of(grammar))
        except GrammarError as error:
            raise ValidationError(f"grammar is not valid: {error}") from None
