"""vLLM's sampling parameters: several answers, seeds, stops, log-probabilities."""

from inlay import LLM, SamplingParams
from inlay.llm.outputs import CompletionOutput

PROMPT = "<|user|>Hello!<end_of_utterance><|assistant|>"


def draw(llm: LLM) -> list[str]:
    """Three answers, the same three each time."""
    params = SamplingParams(n=3, temperature=3.0, top_p=0.95, top_k=50, seed=7, max_tokens=24)
    return [answer.text for answer in llm.generate(PROMPT, params)[0].outputs]


def look(llm: LLM) -> CompletionOutput:
    """An answer up to a stop, with the two likeliest tokens at each place."""
    params = SamplingParams(temperature=0.0, max_tokens=24, stop=[" and", "!!"], logprobs=2)
    return llm.generate(PROMPT, params)[0].outputs[0]


if __name__ == "__main__":
    with LLM() as llm:
        print(draw(llm))
        print(look(llm))
