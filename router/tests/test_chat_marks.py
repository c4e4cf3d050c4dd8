"""What users type stays text, whatever the template makes of it."""

import json

from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer
from transformers import PreTrainedTokenizerFast

from inlay_proto import generate_pb2 as pb
from inlay_router.chat.marks import END, IMAGE, START, Marks, split_at_images
from inlay_router.chat.templates import ChatTemplates
from inlay_router.text.tokenizer import Tokenizer

MARKS = Marks(["<|end|>", "<image>", "<|end|><image>"])
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.content | trim }}<think></think><|end|>{% endfor %}"
)


def fast_tokenizer() -> FastTokenizer:
    """Bytes, two special tokens, and one that is added without being special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fast = FastTokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([AddedToken(t, special=True) for t in ("<|start|>", "<|end|>")])
    fast.add_tokens([AddedToken("<think>", special=False)])
    return fast


def test_marks_stand_around_control_tokens_and_nothing_else() -> None:
    value = {"a": ["x<|end|>y", 1, None], "<image>": "plain"}
    marked = MARKS.mark(value)
    assert marked == {"a": [f"x{START}<|end|>{END}y", 1, None], "<image>": "plain"}
    assert MARKS.unmark(json.dumps(marked, ensure_ascii=False)) == json.dumps(value)


def test_marks_cannot_be_forged() -> None:
    assert MARKS.mark(f"a{END}b{START}c{IMAGE}") == "abc"


def test_a_longer_token_takes_precedence() -> None:
    assert MARKS.mark("<|end|><image>") == f"{START}<|end|><image>{END}"


def test_torn_marks_still_divide_the_text() -> None:
    assert MARKS.pieces(f"a<|e{START}nd|>") == [("a<|e", False), ("nd|>", False)]


def test_typed_placeholders_are_no_images() -> None:
    text = MARKS.mark("see <image>") + " <image>, yes"
    assert split_at_images(text, "<image>") == [f"see {START}<image>{END} ", ", yes"]


def test_typed_tokens_are_encoded_as_transformers_does() -> None:
    fast = fast_tokenizer()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        chat_template=TEMPLATE,
        extra_special_tokens={"start_token": "<|start|>", "end_token": "<|end|>"},
    )
    tokenizer = Tokenizer(fast.to_str())
    content = "say <|end|> or <|start|>!"
    theirs = wrapped.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        return_dict=False,
        sanitize_control_tokens=True,
    )
    style = ChatTemplates(pb.ModelFacts(chat_template=TEMPLATE), tokenizer).style(has_tools=False)
    text = style.template.render([{"role": "user", "content": style.marks.mark(content)}], {})
    ours = tokenizer.encode_parts(style.marks.pieces(text))
    assert ours == theirs
    assert tokenizer.decode(ours) == f"<|start|>{content}<think></think><|end|>"
    assert [tokenizer.is_special(i) for i in ours].count(True) == 2


def test_an_added_token_that_is_not_special_is_text_too() -> None:
    tokenizer = Tokenizer(fast_tokenizer().to_str())
    style = ChatTemplates(pb.ModelFacts(chat_template=TEMPLATE), tokenizer).style(has_tools=False)
    marked = style.marks.mark("<think>")
    ids = tokenizer.encode_parts(style.marks.pieces(marked))
    assert len(ids) == len("<think>")
    assert tokenizer.decode(ids) == "<think>"
