"""A loaded model as the engine sees it: token ids in, logits out, images embedded on the way.

Embeddings may be wider than the model's hidden states: hidden * (1 + n). What is beyond the first
`hidden` is added to the hidden states at n of the layers, as models with deepstack do it.
Behind that are the columns of what else a text tower is given of each token.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.configuration_utils import PretrainedConfig
from transformers.modeling_outputs import MoeModelOutputWithPast

from inlay_kernels import Likeliest
from inlay_shard.adapter import ImageAdapter
from inlay_shard.model.architecture import text_config
from inlay_shard.model.layer_additions import find_layer_additions
from inlay_shard.model.sight import AdaptedSight, FoundSight, Sight, names_of
from inlay_shard.model.temperature import heed_positions
from inlay_shard.model.token_inputs import find_token_inputs
from inlay_shard.model.view import View, Views, widest

LogitsOf: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""Called with what `Network.logits` is called with, to the same end."""

Rated: TypeAlias = tuple[Tensor, Likeliest | None]
"""Logits, and the most likely tokens where these were found on the way."""

RatedOf: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool], Rated]
"""Called with what `Network.rated` is called with, to the same end."""


class TowerAnswer(MoeModelOutputWithPast):
    """Hidden states that no text tower computed, for the code behind it."""

    def __getattr__(self, name: str) -> None:
        """Nothing, for whatever else a model asks of its text tower."""
        if name.startswith("__"):
            raise AttributeError(name)


class Network:
    """The modelling code of `transformers`, unmodified, over one flattened batch."""

    def __init__(self, model: PreTrainedModel, adapter: ImageAdapter | None = None) -> None:
        """adapter: how it takes images in; without one that is found in its code."""
        self.model = model
        self.text_tower: PreTrainedModel = _text_tower(model)
        self._keeps_logits = "logits_to_keep" in names_of(model.forward)
        self._added: list[Tensor] = []
        self.views: Views = {}
        """What tokens of a prompt with images see; set at start-up, when it is found out."""
        self.shortcut: LogitsOf | None = None
        """Takes the place of the model's own code around its text tower; set at start-up, when it
        is proven."""
        self.rated_shortcut: RatedOf | None = None
        """The same, where the shortcut also finds the most likely tokens."""
        self._keeps_hidden = False
        self.additions = find_layer_additions(model)
        """How images are added to hidden states on the way; found once, as code is replaced."""
        self._token_inputs = find_token_inputs(self.text_tower)
        self.is_adapted = adapter is not None
        """Whether an adapter says how it takes images in."""
        self._sight: Sight = (
            FoundSight(model, adds_to_layers=self.adds_to_layers)
            if adapter is None
            else AdaptedSight(model, adapter)
        )
        heed_positions(self.text_tower)
        if self.adds_to_layers:
            self.text_tower.register_forward_pre_hook(self._hand_added, with_kwargs=True)

    @property
    def config(self) -> PretrainedConfig:
        """The configuration of the whole model."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of its weights."""
        return self.model.dtype

    @property
    def adds_to_layers(self) -> bool:
        """Whether embeddings of images are wider than hidden states."""
        return self.additions is not None

    @property
    def has_plain_embeddings(self) -> bool:
        """Whether embeddings are as wide as hidden states."""
        return not (self.adds_to_layers or self._token_inputs.width)

    @property
    def num_embeddings(self) -> int:
        """Token ids are below this number."""
        embeddings: Any = self.model.get_input_embeddings()
        return int(embeddings.num_embeddings)

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states of the text tower."""
        return int(text_config(self.config).hidden_size)

    @property
    def image_token_id(self) -> int | None:
        """Placeholder of images in a prompt; None when the model takes no images."""
        return self._sight.image_token_id

    @property
    def num_position_axes(self) -> int:
        """1, or 3 when positions have a time, a height and a width (M-RoPE)."""
        return self._sight.num_position_axes

    @property
    def has_image_positions(self) -> bool:
        """Whether images change the positions of tokens."""
        return self._sight.has_own_positions

    @property
    def image_encoder(self) -> Any | None:
        """The part of the model with `get_image_features`; None when there is none."""
        return self._sight.encoder

    @property
    def view(self) -> View:
        """What tokens of a prompt with images see in the layers that let them see the most."""
        return widest(self.views)

    def sees_ahead(self, kind: str) -> bool:
        """Whether layers of a kind let tokens see others behind them."""
        return self.views.get(kind, self.view) is not View.CAUSAL

    @property
    def max_image_tokens(self) -> int | None:
        """Tokens in a row that an image may have; None where they see no others behind them, or no
        window slides. Models differ in whether those of an image look back past the window."""
        window: int | None = getattr(text_config(self.config), "sliding_window", None)
        return window if self.view is View.IMAGE else None

    @property
    def images_reach_behind(self) -> bool:
        """Whether images change what is behind them: its positions, or how far it sees."""
        return self.has_image_positions or self.view is View.PROMPT

    def embed(self, token_ids: Tensor, places: Tensor, features: Tensor) -> Tensor:
        """Embeddings (tokens, width) of `token_ids`, with `features` (n, width) at `places`."""
        known = token_ids.index_fill(0, places, 0)  # a placeholder may have no embedding
        embeddings: Tensor = self.model.get_input_embeddings()(known.unsqueeze(0))[0]
        beyond = features.shape[1] - embeddings.shape[1]
        if beyond:
            embeddings = functional.pad(embeddings, (0, beyond))
        embeddings = embeddings.index_copy(0, places, features.to(embeddings.dtype))
        columns = self._token_inputs.columns(token_ids, places)
        return torch.cat([embeddings, columns.to(embeddings.dtype)], 1)

    def logits(
        self,
        token_ids: Tensor,
        position_ids: Tensor,
        keep: Tensor,
        embeddings: Tensor | None = None,
    ) -> Tensor:
        """Logits (len(keep), vocab_size) of the tokens of a flattened batch that `keep` names.

        token_ids: int64 (tokens,). position_ids: int64 (axes, tokens). embeddings: (tokens,
        width), instead of those of `token_ids`.
        """
        if self.shortcut is not None and not self._keeps_hidden:
            return self.shortcut(token_ids, position_ids, keep, embeddings)
        return self.plain_logits(token_ids, position_ids, keep, embeddings)

    def rated(
        self,
        token_ids: Tensor,
        position_ids: Tensor,
        keep: Tensor,
        embeddings: Tensor | None,
        goes_on: bool = False,
    ) -> Rated:
        """What `logits` gives, with the most likely tokens where they are found on the way.

        Both are good until the next call. goes_on: rows of one token each that will most likely be
        followed by their likeliest tokens, so that the next step may be begun at once: token ids,
        positions and attention are there then, and the logits, which nobody reads, may change.
        """
        if self.rated_shortcut is not None and not self._keeps_hidden:
            return self.rated_shortcut(token_ids, position_ids, keep, embeddings, goes_on)
        return self.logits(token_ids, position_ids, keep, embeddings), None

    def plain_logits(
        self, token_ids: Tensor, position_ids: Tensor, keep: Tensor, embeddings: Tensor | None
    ) -> Tensor:
        """The same by the model's own code around its text tower."""
        positions = position_ids if len(position_ids) == 1 else position_ids.unsqueeze(1)
        if embeddings is None:
            return self._call(keep, position_ids=positions, input_ids=token_ids.unsqueeze(0))
        width = self._token_inputs.width
        embeddings, columns = torch.split(embeddings, [embeddings.shape[1] - width, width], 1)
        named = self._token_inputs.arguments(columns)
        first, *self._added = torch.split(embeddings.unsqueeze(0), self.hidden_size, -1)
        try:
            return self._call(keep, position_ids=positions, inputs_embeds=first, **named)
        finally:
            self._added = []

    def _hand_added(
        self, tower: object, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Before each pass of the text tower: what is added to every token, mostly zeros."""
        if not self._added or self.additions is None:
            return None
        return arguments, named | self.additions.arguments(self._added)

    def _call(self, keep: Tensor, **inputs: Any) -> Tensor:
        if self._keeps_logits:
            inputs["logits_to_keep"] = keep
        logits: Tensor = self.model(use_cache=False, return_dict=True, **inputs).logits[0]
        return logits if self._keeps_logits else logits[keep]

    @contextmanager
    def keeping_hidden(self) -> Iterator[list[Tensor]]:
        """Within, each forward pass appends the text tower's last states (tokens, hidden)."""
        kept: list[Tensor] = []

        def keep(module: object, arguments: object, output: Any) -> None:
            kept.append(output[0][0])

        handle = self.text_tower.register_forward_hook(keep)
        self._keeps_hidden = True
        try:
            yield kept
        finally:
            self._keeps_hidden = False
            handle.remove()

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (n, vocab_size) of last hidden states (n, hidden).

        Calls the whole model with a text tower that answers `hidden`, so that whatever the model
        does behind its tower (scaling, capping) is done here too.
        """
        answer = TowerAnswer(last_hidden_state=hidden.unsqueeze(0))
        nothing = hidden.new_zeros(len(hidden), self._token_inputs.width)
        named = self._token_inputs.arguments(nothing)
        keep = torch.arange(len(hidden), device=hidden.device)
        own = self.text_tower.forward
        self.text_tower.__dict__["forward"] = lambda *arguments, **named: answer
        try:
            return self._call(keep, inputs_embeds=hidden.unsqueeze(0), **named)
        finally:
            self.text_tower.__dict__["forward"] = own

    def pixel_names(self, inputs: Iterable[str]) -> list[str]:
        """Those of the processor's outputs from which images are embedded."""
        return self._sight.pixel_names(inputs)

    def place(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs on the model's device, numbers with a fraction in the type of its weights."""
        return {
            name: entry.to(self.device, self.dtype if entry.is_floating_point() else None)
            for name, entry in inputs.items()
        }

    def encode_images(self, pixels: Mapping[str, Tensor]) -> Tensor:
        """Embeddings (n, width) that replace the placeholders of a prompt's images, in order.

        pixels: what `pixel_names` names, made by the model's processor.
        """
        return self._sight.encode(self.place(pixels)).to(self.dtype)

    def image_positions(self, token_ids: Tensor, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Positions (axes, tokens) of a prompt with images; None when they simply count up.

        inputs: what the model's processor made of the prompt.
        """
        return self._sight.positions(token_ids, inputs)


def _text_tower(model: PreTrainedModel) -> Any:
    """What is under the head. A head may have a layer that is called decoder (ModernBERT)."""
    decoder: Any = model.get_decoder()
    return model.base_model if isinstance(decoder, torch.nn.Linear) else decoder
