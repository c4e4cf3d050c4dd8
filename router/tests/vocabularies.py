"""Small tokenizers of every kind that models come with."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END = "</s>"
_WORDS = ["hello", "world", "a", "red", "circle", "é", "日本", "🙂", "."]


def byte_level() -> str:
    """As GPT-2, Llama 3 and Qwen: every byte is a token, and some are merged."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "hello"), ("ð", "Ł")]
    entries = alphabet + [left + right for left, right in merges]
    model = models.BPE(vocab={entry: i for i, entry in enumerate(entries)}, merges=merges)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _finished(tokenizer)


def byte_fallback() -> str:
    """As Llama 2 and Gemma: words, and bytes for what no word covers."""
    entries = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *_characters()]
    merges = [("r", "e"), ("re", "d"), ("▁", "red")]
    entries += [left + right for left, right in merges]
    vocab = {entry: i for i, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return _finished(tokenizer)


def metaspace() -> str:
    """As T5: sentencepiece pieces with a mark for spaces, and no bytes."""
    pieces = ["<unk>", "▁", *("▁" + word for word in _WORDS), *_WORDS, *_characters()]
    vocab = [(piece, -float(i)) for i, piece in enumerate(dict.fromkeys(pieces))]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _finished(tokenizer)


def word_pieces() -> str:
    """As BERT: what a token adds depends on the one before it."""
    pieces = ["[UNK]", *_WORDS, *("##" + word for word in _WORDS)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return _finished(tokenizer)


def _characters() -> list[str]:
    return [chr(code) for code in range(0x21, 0x7F)]


def _finished(tokenizer: Tokenizer) -> str:
    tokenizer.add_tokens([AddedToken("<image>", special=False, normalized=False)])
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return str(tokenizer.to_str())
