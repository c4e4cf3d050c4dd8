"""What the router must know about a loaded model."""

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.configuration_utils import PretrainedConfig

from inlay_proto import generate_pb2 as pb
from inlay_shard.config import ShardConfig
from inlay_shard.errors import ModelRefused
from inlay_shard.model.architecture import max_positions, text_config
from inlay_shard.model.cache import KVPool
from inlay_shard.model.network import Network
from inlay_shard.model.view import View

_PLACEHOLDER_IDS = [
    f"{kind}_token_{what}" for kind in ("image", "video", "audio") for what in ("id", "index")
]
"""What configurations call the tokens that stand for an image, a video or a sound."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The tokenizer, and what stands around it."""

    tokenizer_json: str
    """Text of a `tokenizer.json`."""
    chat_templates: dict[str, str]
    """Jinja sources by name; a template that stands alone is "default"."""
    special_tokens: dict[str, str]
    """By name, such as `pad_token`."""
    added_tokens: dict[int, str]
    """By id: what is recognised wherever it is written."""
    bos_token: str
    eos_token: str
    eos_token_id: int | None
    """The tokenizer's own end token."""


def read_texts(folder: Path) -> Texts:
    """Read the tokenizer of a model folder. Raises ModelRefused when it has no fast one."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except (ValueError, OSError, KeyError, ImportError) as error:
        raise ModelRefused(f"its tokenizer cannot be loaded: {error}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelRefused("its tokenizer has no tokenizer.json")
    return Texts(
        tokenizer_json=tokenizer.backend_tokenizer.to_str(),
        chat_templates=_chat_templates(folder, tokenizer.chat_template),
        special_tokens={name: str(text) for name, text in tokenizer.special_tokens_map.items()},
        added_tokens={id_: str(text) for id_, text in tokenizer.added_tokens_decoder.items()},
        bos_token=str(tokenizer.bos_token or ""),
        eos_token=str(tokenizer.eos_token or ""),
        eos_token_id=tokenizer.eos_token_id,
    )


def _chat_templates(folder: Path, template: Any) -> dict[str, str]:
    """The processor's templates where it has its own, and the tokenizer's."""
    templates = _by_name(template)
    for name in ("chat_template.json", "chat_template.jinja"):
        path = folder / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            own = text if path.suffix == ".jinja" else json.loads(text)["chat_template"]
            templates |= _by_name(own)
    return templates


def _by_name(template: Any) -> dict[str, str]:
    match template:
        case dict():
            return dict(template)
        case list():
            return {entry["name"]: entry["template"] for entry in template}
    return {"default": template} if template else {}


def eos_token_ids(network: Network, texts: Texts) -> list[int]:
    """Every id that ends a generation, as `generate` reads them; else the tokenizer's."""
    generation = getattr(network.model, "generation_config", None)
    for owner in (generation, network.config, text_config(network.config), texts):
        token_ids = getattr(owner, "eos_token_id", None)
        if token_ids is not None:
            return [token_ids] if isinstance(token_ids, int) else list(token_ids)
    return []


def describe(
    config: ShardConfig,
    network: Network,
    pool: KVPool,
    texts: Texts,
    *,
    vocab_size: int,
    takes_images: bool,
) -> pb.ModelFacts:
    """The facts, as they go over the wire."""
    return pb.ModelFacts(
        model_id=config.model_id,
        model_type=network.config.model_type,
        dtype=str(network.dtype).removeprefix("torch."),
        device=str(network.device),
        device_name=_device_name(network.device),
        rank=config.rank,
        num_shards=config.num_shards,
        num_blocks=pool.num_blocks,
        block_size=pool.block_size,
        pool_bytes=pool.num_bytes,
        max_position_embeddings=_longest(network),
        vocab_size=vocab_size,
        eos_token_ids=eos_token_ids(network, texts),
        tokenizer_json=texts.tokenizer_json,
        takes_images=takes_images,
        chat_template=texts.chat_templates.get("default", ""),
        named_chat_templates={
            name: text for name, text in texts.chat_templates.items() if name != "default"
        },
        special_tokens=texts.special_tokens,
        bos_token=texts.bos_token,
        eos_token=texts.eos_token,
        bidirectional_images=network.view is not View.CAUSAL,
        placeholders=_placeholders(network.config, texts),
        is_recurrent=pool.states is not None,
        max_sequences=0 if pool.states is None else pool.states.max_sequences,
        state_bytes=0 if pool.states is None else pool.states.num_bytes,
    )


def _placeholders(config: PretrainedConfig, texts: Texts) -> list[str]:
    """Tokens that stand for what is not text, as far as they can be written."""
    ids = {getattr(config, name, None) for name in _PLACEHOLDER_IDS}
    return [text for id_, text in texts.added_tokens.items() if id_ in ids]


def _longest(network: Network) -> int:
    """The longest sequence that may be served; 0 when the model sets no limit."""
    limit = max_positions(network.config)
    window: int | None = getattr(text_config(network.config), "sliding_window", None)
    if network.view is View.PROMPT and window:  # PaliGemma 2 looks past its window in a prompt
        return min(limit or window, window)
    return limit


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
