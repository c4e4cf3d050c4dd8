"""A byte-level BPE over the sentences of this world; any other text falls back to its bytes."""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD = "<pad>"
END = "<end_of_utterance>"
IMAGE = "<image>"
AROUND_IMAGE = "<fake_token_around_image>"
WHOLE_IMAGE = "<global-img>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (PAD, END, AROUND_IMAGE, IMAGE, WHOLE_IMAGE, SYSTEM, USER, ASSISTANT)

VOCABULARY_SIZE = 704

# A word or a digit takes the space before it; runs of punctuation, of newlines and of other
# blanks stay whole. Every character falls into one of these.
PIECES = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|[\r\n]+|[^\S\r\n]+"


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one token of the vocabulary."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def train_tokenizer(sentences: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learns the merges from these sentences; the vocabulary has exactly `VOCABULARY_SIZE`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences, trainer)
    size = tokenizer.get_vocab_size()
    if size != VOCABULARY_SIZE:
        raise ValueError(f"the sentences give {size} tokens, {VOCABULARY_SIZE} are needed")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens={"image_token": IMAGE},
        additional_special_tokens=[AROUND_IMAGE, WHOLE_IMAGE, SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=4096,
    )
