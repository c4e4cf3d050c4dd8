"""What vLLM's users write, answered by the offline engine: `LLM`, `SamplingParams` and outputs."""
