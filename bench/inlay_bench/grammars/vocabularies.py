"""The tokenizers that schemas are tried with: the embedded model's, and one of 131,072 tokens."""

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from inlay_bench.batch import BenchFailed

PACKAGE = "mistral-common==1.13.1"
MEMBER = "mistral_common/data/tekken_240911.json"
"""Apache-2.0; the vocabulary of models that are served, 1,000 special tokens included."""
FIRST_SPECIAL = ("<unk>", "<s>", "</s>")
EMBEDDED = Path(__file__).parents[3] / "front" / "inlay" / "embedded_model"


class Vocabulary(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend is told about a model."""

    name: str
    tokenizer_json: str
    vocab_size: int
    eos_token_ids: list[int]


def embedded_vocabulary() -> Vocabulary:
    """That of the embedded model."""
    text = (EMBEDDED / "tokenizer.json").read_text(encoding="utf-8")
    generation = json.loads((EMBEDDED / "generation_config.json").read_text(encoding="utf-8"))
    ends = generation["eos_token_id"]
    tokenizer = Tokenizer.from_str(text)
    return Vocabulary(
        name="embedded",
        tokenizer_json=text,
        vocab_size=tokenizer.get_vocab_size(),
        eos_token_ids=ends if isinstance(ends, list) else [ends],
    )


def large_vocabulary(folder: Path) -> Vocabulary:
    """Of 131,072 tokens, made in `folder` at the first use. Raises BenchFailed without PyPI."""
    path = folder / f"tekken-{hashlib.sha256(PACKAGE.encode()).hexdigest()[:8]}.json"
    if not path.exists():
        path.write_text(_converted(_downloaded(folder)).to_str(), encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    tokenizer = Tokenizer.from_str(text)
    return Vocabulary(
        name="131k",
        tokenizer_json=text,
        vocab_size=tokenizer.get_vocab_size(),
        eos_token_ids=[FIRST_SPECIAL.index("</s>")],
    )


def _downloaded(folder: Path) -> dict[str, Any]:
    """The vocabulary in Mistral's form, out of the package's wheel."""
    wheels = folder / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
    done = subprocess.run([*command, "--dest", str(wheels)], capture_output=True, check=False)
    found = sorted(wheels.glob("mistral_common-*.whl"))
    if not found:
        words = done.stderr.decode(errors="replace").strip()[-200:]
        raise BenchFailed(f"{PACKAGE}, which has the large vocabulary, cannot be had: {words}")
    with zipfile.ZipFile(found[0]) as wheel:
        document: dict[str, Any] = json.loads(wheel.read(MEMBER))
    return document


def _converted(document: dict[str, Any]) -> Tokenizer:
    """As a byte-level BPE tokenizer: special tokens first, then bytes and merges by rank."""
    num_special = document["config"]["default_num_special_tokens"]
    num_tokens = document["config"]["default_vocab_size"] - num_special
    tokens = [base64.b64decode(each["token_bytes"]) for each in document["vocab"][:num_tokens]]
    num_others = num_special - len(FIRST_SPECIAL)
    names = [*FIRST_SPECIAL, *(f"<SPECIAL_{rank}>" for rank in range(num_others))]
    written = [_write(token) for token in tokens]
    vocab = {name: rank for rank, name in enumerate([*names, *written])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=list(_merges(tokens)), ignore_merges=True))
    pattern = Regex(document["config"]["pattern"])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    return tokenizer


def _merges(tokens: list[bytes]) -> Iterator[tuple[str, str]]:
    """Every pair of earlier tokens that makes one, in the order of what they make."""
    ranks = {token: rank for rank, token in enumerate(tokens)}
    for token in tokens:
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        pairs = [(a, b) for a, b in halves if a in ranks and b in ranks]
        for a, b in sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]])):
            yield _write(a), _write(b)


def _byte_characters() -> list[str]:
    """The byte-level alphabet, by byte."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


CHARACTERS = _byte_characters()


def _write(token: bytes) -> str:
    return "".join(CHARACTERS[byte] for byte in token)
