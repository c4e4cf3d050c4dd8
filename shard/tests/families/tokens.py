"""One tokenizer for every family: bytes, and the special tokens that any processor asks for."""

from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

NAMED = {
    "image_token": "<image>",
    "video_token": "<video>",
    "audio_token": "<audio>",
    "boi_token": "<boi>",
    "eoi_token": "<eoi>",
    "boa_token": "<boa>",
    "eoa_token": "<eoa>",
    "image_start_token": "<image_start>",
    "image_end_token": "<image_end>",
    "video_start_token": "<video_start>",
    "video_end_token": "<video_end>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "img_line_break_token": "<line>",
    "image_wrapper_token": "<wrapper>",
    "eof_token": "<eof>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
    "image_break_token": "[IMG_BREAK]",
    "image_boundary_token": "<boundary>",
}
"""Attributes of a tokenizer that processors read, and their tokens."""
FIXED = (
    "<|image_pad|>",
    "<|video_pad|>",
    "<|IMAGE_PAD|>",
    "<|VIDEO_PAD|>",
    "<|VISION_START|>",
    "<|VISION_END|>",
    "<|imgpad|>",
    "<|audio_comp_pad|>",
    "<im_patch>",
    "<im_start>",
    "<im_end>",
    "<patch_start>",
    "<patch_end>",
    "<patch_newline>",
    "|SPEAKER|",
    "|NEWLINE|",
    "<|START_OF_IMG|>",
    "<|END_OF_IMG|>",
    "<|IMG_PATCH|>",
    "<|IMG_LINE_BREAK|>",
    "TILE",
    "TILE_GLOBAL",
    "<|image_start|>",
    "<|image_end|>",
    "<|img_thumbnail|>",
    "<|image|>",
    "<|patch|>",
    "<|image_pixel|>",
    "<|tile_x_separator|>",
    "<|tile_y_separator|>",
    "[IMG]",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<imgpad>",
    "<|video|>",
    "<|media_pad|>",
    "<|im_start|>",
    "<|im_end|>",
    "<low_res_im_start>",
    "<im_col>",
    "<image_soft_token>",
    "<start_of_image>",
    "<end_of_image>",
    "<img_start>",
    "<img_end>",
    "<img_patch>",
    "<img_col>",
    "<tile>",
    "[IMG_END]",
    "<IMG_ATOM>",
    "<IMG_START>",
    "<IMG_GRID>",
    "<IMG_COL>",
    "<IMG_ROW>",
    "<IMG_END>",
    "]<]image[>[",
    "]<]start of image[>[",
    "]<]end of image[>[",
    "<slice>",
    "</slice>",
    "<image_id>",
    "</image_id>",
)
"""Tokens that processors and models name by their text."""
SPECIAL = ("<pad>", "<end>", "<bos>", "<unk>", *NAMED.values(), *FIXED)
IDS = {token: token_id for token_id, token in enumerate(SPECIAL)}
VOCAB_SIZE = 384
"""Special tokens and bytes, and some to spare."""


def make_tokenizer(**named: str) -> PreTrainedTokenizerFast:
    """Any text, one token a byte. named: other tokens for attributes of NAMED."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: token_id for token_id, token in enumerate((*SPECIAL, *alphabet))}
    assert len(vocabulary) <= VOCAB_SIZE
    backend = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    wrap: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = wrap(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<end>",
        unk_token="<unk>",
        extra_special_tokens=NAMED | named,
    )
    return tokenizer
