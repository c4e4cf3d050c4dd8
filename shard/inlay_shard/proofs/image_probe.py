"""Proof at start-up that prompts with pictures reach the text tower as by the model's own code.

The model's own forward and ours are stopped at the text tower, and what they hand over is compared:
embeddings, positions, what is added behind the first layers, how far tokens see. What the tower
makes of it is the subject of the other proof, `probe`.
"""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inlay_shard.errors import ModelRefused
from inlay_shard.images.preparation import Prepared
from inlay_shard.model.network import Network, TowerAnswer
from inlay_shard.model.view import View, Views

_TOLERANCES = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.05}
"""Largest difference of embeddings, in units of the largest one."""
_HARMLESS = frozenset(
    {"past_key_values", "use_cache", "return_dict", "cache_position", "input_ids", "kwargs"}
    | {"output_attentions", "output_hidden_states", "output_router_logits", "logits_to_keep"}
)
"""Arguments of a text tower that say nothing about the images."""


@dataclass(frozen=True, kw_only=True)
class Handover:
    """What a text tower is given for one prompt."""

    embeddings: Tensor
    """(tokens, hidden)."""
    positions: Tensor
    """int64 (axes, tokens)."""
    added: list[Tensor]
    """(tokens, hidden) each: added to the hidden states behind the first layers."""
    is_visible: Mapping[str, Tensor | None]
    """bool (tokens, tokens), by kind of layer, or under "" for all: which tokens each token sees;
    None: itself and those before it."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """The other arguments that are set, by name."""


@dataclass(frozen=True)
class Seen:
    """What was found out about a model's images."""

    views: Views
    """What tokens see in prompts with images."""
    embeddings: Tensor
    """What the encoder made of the pictures: (n, width)."""


@torch.inference_mode()
def prove_images(network: Network, prepared: Prepared) -> Seen:
    """How the model sees pictures, if ours is what the model's own code hands over.

    To be called while the text tower still has the attention that it came with. Where a model's
    forward takes images by no name that its adapter knows, there is nothing to compare with: the
    adapter's word is taken, and tokens of images see those before them.

    Args:
        prepared: a prompt with pictures.

    Raises:
        ModelRefused: images are put into the text in a way that is not supported.
    """
    token_ids = torch.from_numpy(prepared.token_ids).to(network.device)
    inputs = {name: torch.from_numpy(entry) for name, entry in prepared.inputs.items()}
    names = inspect.signature(network.model.forward).parameters
    pixels = {name: inputs[name] for name in network.pixel_names(inputs)}
    with _encoding_once(network.image_encoder):
        features = network.encode_images(pixels)
        if network.is_adapted and not inputs.keys() & names.keys():
            return Seen({}, features)
        ours = _ours(network, token_ids, prepared.places, inputs, features)
        theirs = _theirs(network, token_ids, inputs)
    _compare(ours, theirs, _TOLERANCES[network.dtype])
    return Seen(_find_views(theirs.is_visible, prepared.places, len(token_ids)), features)


def _theirs(network: Network, token_ids: Tensor, inputs: Mapping[str, Tensor]) -> Handover:
    names = inspect.signature(network.model.forward).parameters
    known = {name: entry for name, entry in inputs.items() if name in names}
    known.pop("attention_mask", None)
    with _stopped_at(network.text_tower) as handed:
        network.model(input_ids=token_ids.unsqueeze(0), **network.place(known), use_cache=False)
    return _read(handed, network)


def _ours(
    network: Network,
    token_ids: Tensor,
    places: NDArray[np.int64],
    inputs: Mapping[str, Tensor],
    features: Tensor,
) -> Handover:
    if len(features) != len(places):
        raise ModelRefused(
            f"its encoder makes {len(features)} embeddings for {len(places)} places of images"
        )
    positions = network.image_positions(token_ids.cpu(), inputs)
    if positions is None:
        positions = torch.arange(len(token_ids)).expand(network.num_position_axes, -1)
    embeddings = network.embed(token_ids, torch.from_numpy(places).to(network.device), features)
    keep = torch.zeros(1, dtype=torch.int64, device=network.device)
    with _stopped_at(network.text_tower) as handed:
        network.logits(token_ids, positions.to(network.device), keep, embeddings)
    return _read(handed, network)


@contextmanager
def _stopped_at(tower: Any) -> Iterator[dict[str, Any]]:
    """Within, a forward pass leaves in the dictionary what it hands to the tower, which is idle."""
    handed: dict[str, Any] = {}
    signature = inspect.signature(tower.forward)

    def forward(*arguments: Any, **named: Any) -> TowerAnswer:
        bound = signature.bind(*arguments, **named).arguments
        handed.update(bound.pop("kwargs", {}))
        handed.update(bound)
        if handed.get("inputs_embeds") is None:
            raise ModelRefused("it does not hand embeddings with images to its text tower")
        return TowerAnswer(last_hidden_state=handed.get("inputs_embeds"))

    tower.__dict__["forward"] = forward
    try:
        yield handed
    finally:
        del tower.__dict__["forward"]


@contextmanager
def _encoding_once(encoder: Any | None) -> Iterator[None]:
    """Within, images that were embedded before are not embedded again."""
    if encoder is None:
        yield
        return
    owner = (
        encoder.model if hasattr(getattr(encoder, "model", None), "get_image_features") else encoder
    )
    encode = owner.get_image_features
    known: list[tuple[list[Tensor], Any]] = []

    def remember(*arguments: Any, **named: Any) -> Any:
        tensors = [entry for entry in (*arguments, *named.values()) if isinstance(entry, Tensor)]
        for seen, output in known:
            if _are_equal(seen, tensors):
                return output
        known.append((tensors, encode(*arguments, **named)))
        return known[-1][1]

    owner.__dict__["get_image_features"] = remember
    try:
        yield
    finally:
        del owner.__dict__["get_image_features"]


def _are_equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def _read(handed: dict[str, Any], network: Network) -> Handover:
    embeddings: Tensor = handed.pop("inputs_embeds")[0]
    return Handover(
        embeddings=embeddings,
        positions=_positions(
            handed.pop("position_ids", None), len(embeddings), network.num_position_axes
        ),
        added=[] if network.additions is None else network.additions.take(handed),
        is_visible=_visible(handed.pop("attention_mask", None)),
        others={
            name: entry
            for name, entry in handed.items()
            if entry is not None and name not in _HARMLESS
        },
    )


def _positions(position_ids: Tensor | None, num_tokens: int, num_axes: int) -> Tensor:
    """int64 (axes, tokens), from whatever shape a text tower takes them in."""
    if position_ids is None:
        return torch.arange(num_tokens).unsqueeze(0)
    positions = position_ids.reshape(-1, num_tokens).cpu()
    return positions[1:] if len(positions) > num_axes else positions


def _visible(mask: Any) -> dict[str, Tensor | None]:
    """bool (tokens, tokens), by kind of layer: what a token sees; None when no mask is made."""
    masks = mask if isinstance(mask, dict) else {"": mask}
    return {kind: _square(entry) for kind, entry in masks.items()}


def _square(mask: Any) -> Tensor | None:
    if not isinstance(mask, Tensor) or mask.ndim != 4:
        return None
    seen = mask[0, 0]
    return (seen if seen.dtype == torch.bool else seen >= 0).cpu()


def _compare(ours: Handover, theirs: Handover, tolerance: float) -> None:
    """Raise ModelRefused unless both say the same."""
    for name, entry in theirs.others.items():
        own = ours.others.get(name)
        if own is None or (isinstance(own, Tensor) and not _is_close(own, entry, tolerance)):
            raise ModelRefused(
                f"with images it hands {name} to its text tower, which is not supported"
            )
    shift = theirs.positions - ours.positions  # by one number: PaliGemma counts from 1
    if bool((shift != shift.flatten()[0]).any()):
        raise ModelRefused("it numbers the tokens of images in a way that is not supported")
    if len(ours.added) != len(theirs.added) or not all(
        _is_close(mine, other, tolerance)
        for mine, other in zip(
            [ours.embeddings, *ours.added], [theirs.embeddings, *theirs.added], strict=True
        )
    ):
        raise ModelRefused("it puts images into the text in a way that is not supported")


def _is_close(some: Tensor, others: Tensor, tolerance: float) -> bool:
    difference = (some.float() - others.float()).abs().max()
    return bool(difference <= tolerance * others.float().abs().max())


def _find_views(
    is_visible: Mapping[str, Tensor | None], places: NDArray[np.int64], num_tokens: int
) -> Views:
    """How far tokens see, of the ways that are supported."""
    views = {kind: _find_view(seen, places, num_tokens) for kind, seen in is_visible.items()}
    if len(set(views.values()) - {View.CAUSAL}) > 1:
        raise ModelRefused("its layers differ in how far ahead tokens of images see")
    return views


def _find_view(is_visible: Tensor | None, places: NDArray[np.int64], num_tokens: int) -> View:
    if is_visible is None:
        return View.CAUSAL
    own = torch.arange(num_tokens)
    is_ahead = own > own.unsqueeze(1)
    for view in View:
        stops = view.stops(places, num_tokens)
        stop = own + 1 if stops is None else torch.from_numpy(stops)
        if torch.equal(is_visible & is_ahead, (own < stop.unsqueeze(1)) & is_ahead):
            return view
    raise ModelRefused("tokens of its images see ahead in a way that is not supported")
