"""A model folder as `transformers` loads it, with our attention and what images add."""
