"""A byte-level BPE vocabulary of any size, made of syllables instead of a corpus."""

from itertools import islice, product

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

PAD = "<pad>"
END = "<end_of_utterance>"
IMAGE = "<image>"
AROUND_IMAGE = "<fake_token_around_image>"
WHOLE_IMAGE = "<global-img>"
SPECIAL_TOKENS = (PAD, END, IMAGE, AROUND_IMAGE, WHOLE_IMAGE)

SYLLABLES = tuple(a + b for a, b in product("bcdfghjklmnpqrstvwxz", "aeiou"))
WORDS = tuple(a + b for a, b in product(SYLLABLES, SYLLABLES))
"""Words of two syllables; each, with the space before it, is one token."""

SPACE = "Ġ"  # a space in the byte-level alphabet


def build_tokenizer(vocab_size: int) -> Tokenizer:
    """A tokenizer with exactly `vocab_size` entries, special tokens included and adding none.

    Raises ValueError when `vocab_size` does not hold the words, or is more than they can fill.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    smallest = len(SPECIAL_TOKENS) + len(alphabet) + len(SYLLABLES) + 2 * len(WORDS)
    largest = smallest + len(WORDS) * len(SYLLABLES)
    if not smallest <= vocab_size <= largest:
        raise ValueError(f"vocab_size is {vocab_size}; it is in [{smallest}, {largest}]")
    merges = [(syllable[0], syllable[1]) for syllable in SYLLABLES]
    merges += [(word[:2], word[2:]) for word in WORDS]
    merges += [(SPACE, word) for word in WORDS]
    merges += islice(product(WORDS, SYLLABLES), vocab_size - smallest)
    tokens = [*SPECIAL_TOKENS, *alphabet, *(left + right for left, right in merges)]
    tokenizer = Tokenizer(
        models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return tokenizer
