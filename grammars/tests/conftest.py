"""A byte-level tokenizer made on the spot, and a compiler for logits wider than it."""

import pytest
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from inlay_grammars.compiler import GrammarCompiler

settings.register_profile("long", max_examples=3000, deadline=None)

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_end|>", "<image>"]
TEXTS = [
    '{"name": "red circle", "count": 12, "animals": ["dog", "cat"], "ok": true, "x": null}',
    '{"location": "Paris", "activity": "walking", "animals_seen": 3, "animals": []}',
    "the quick brown fox jumps over the lazy dog 0123456789 true false null -1.5e+10",
]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Byte-level BPE: any text is safe, and most tokens beyond ASCII are parts of characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL_TOKENS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 20, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def vocab_size() -> int:
    """Width of the logits: wider than the tokenizer, and no multiple of 32."""
    return 1003


@pytest.fixture(scope="session")
def eos_token_ids(tokenizer: Tokenizer) -> list[int]:
    """Two end tokens."""
    return [tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|im_end|>")]


@pytest.fixture(scope="session")
def compiler(tokenizer: Tokenizer, vocab_size: int, eos_token_ids: list[int]) -> GrammarCompiler:
    return GrammarCompiler(tokenizer.to_str(), vocab_size, eos_token_ids)
