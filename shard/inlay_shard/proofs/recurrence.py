"""Which modules of a text tower keep states of sequences, found by what they do with a cache."""

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from inlay_shard.errors import ModelRefused
from inlay_shard.model.architecture import num_recurrent_layers, text_config
from inlay_shard.model.network import Network
from inlay_shard.proofs.probe import NUM_TOKENS, probe_tokens
from inlay_shard.states.parts import Part, of_part
from inlay_shard.states.recurrent_layer import RecurrentLayer, StateShape

_CACHES = ("past_key_values", "cache_params")
"""What modules call the cache that they are given."""
_CUT = 16
"""Tokens of the probe behind which a module has to go on from its states."""
_NOISE = 1e-4
"""Largest error of what a module answers behind the cut, as a part of it; in float32, both by the
root of their mean square. States that are left aside make errors of 0.1 and more."""


@torch.inference_mode()
def find_recurrent(network: Network, attention: Collection[nn.Module]) -> list[RecurrentLayer]:
    """The modules of a text tower that keep states, in order; none for most models.

    attention: modules of the tower that call our attention.

    Raises ModelRefused when layers keep states in another way than in a cache.
    """
    text = text_config(network.config)
    num_layers = num_recurrent_layers(text)
    if not num_layers:
        return []
    takers = [module for module in _takers(network.text_tower) if module not in attention]
    num_states = int(getattr(text, "number_of_conv_states", 1))
    noter = _noted(network, takers)
    layers = [
        layer
        for module, call in noter.calls.items()
        if (layer := _examined(module, call, noter.linears, num_states)) is not None
    ]
    if len(layers) < num_layers:
        raise ModelRefused(
            f"{num_layers} of its layers are recurrent and {len(layers)} modules keep a state in "
            "the cache; one of another kind is not supported"
        )
    return list(_with_ways(layers, noter.calls))


def _with_ways(
    layers: Sequence[RecurrentLayer], calls: Mapping[nn.Module, "_Call"]
) -> Iterator[RecurrentLayer]:
    """The same layers with how they go on: each as all do that have its code."""
    by_token = {
        type(layer.module) for layer in layers if not _goes_on_by_rows(layer, calls[layer.module])
    }
    for layer in layers:
        yield replace(layer, goes_on_by_rows=type(layer.module) not in by_token)


def keep_plain(layers: Iterable[RecurrentLayer]) -> None:
    """See to it that linear layers whose weights are read are not packed: they get a hook, and
    those with hooks are left alone."""
    for layer in layers:
        for linear in layer.read_linears:
            linear.register_forward_pre_hook(lambda linear, arguments: None)


def _takers(tower: nn.Module) -> Iterator[nn.Module]:
    """Modules that take a cache and have none inside that do."""
    for module in tower.modules():
        inside = [part for part in module.modules() if part is not module]
        if _cache_name(module) and not any(_cache_name(part) for part in inside):
            yield module


def _cache_name(module: nn.Module) -> str | None:
    """The parameter that is a cache, if it has one."""
    names = inspect.signature(module.forward).parameters
    return next((name for name in _CACHES if name in names), None)


@dataclass(frozen=True)
class _Call:
    """How a module was called with the probe."""

    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def precise(self) -> "_Call":
        """The same in float32."""
        named = {name: _precise(entry) for name, entry in self.named.items()}
        return _Call(tuple(_precise(entry) for entry in self.arguments), named)

    def between(self, start: int, end: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The same with tokens [start, end) of the probe."""
        part = Part(slice(start, end), slice(0, 1), 1, end - start, start > 0)
        return (
            tuple(of_part(entry, part, NUM_TOKENS) for entry in self.arguments),
            {name: of_part(entry, part, NUM_TOKENS) for name, entry in self.named.items()},
        )


class _Noter:
    """Notes how modules are called."""

    def __init__(self) -> None:
        self.calls: dict[nn.Module, _Call] = {}
        """In their order."""
        self.linears: set[nn.Module] = set()
        """Linear layers that were called."""

    def note(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Before each call. Raises ModelRefused for a second one."""
        if module in self.calls:
            raise ModelRefused("its layers share what keeps their states, which is not supported")
        self.calls[module] = _Call(arguments, named)

    def note_linear(self, linear: nn.Module, arguments: object) -> None:
        """Before each call of a linear layer."""
        self.linears.add(linear)


def _noted(network: Network, modules: Collection[nn.Module]) -> _Noter:
    """How these modules are called for the probe."""
    noter = _Noter()
    handles = [module.register_forward_pre_hook(noter.note, with_kwargs=True) for module in modules]
    for linear in {linear for module in modules for linear in _linears(module)}:
        handles.append(linear.register_forward_pre_hook(noter.note_linear))
    token_ids, positions = probe_tokens(network)
    try:
        network.logits(token_ids, positions, torch.zeros(1, dtype=torch.int64).to(network.device))
    finally:
        for handle in handles:
            handle.remove()
    return noter


def _linears(module: nn.Module) -> Iterator[nn.Linear]:
    return (part for part in module.modules() if isinstance(part, nn.Linear))


def _examined(
    module: nn.Module, call: _Call, linears: Collection[nn.Module], num_states: int
) -> RecurrentLayer | None:
    """How a module keeps states; None for one that keeps none.

    linears: the linear layers that were called.
    """
    name = _cache_name(module)
    assert name is not None
    layer = RecurrentLayer(
        module=module,
        forward=module.forward,
        cache_name=name,
        cache_place=list(inspect.signature(module.forward).parameters).index(name),
        num_states=num_states,
        read_linears=tuple(part for part in _linears(module) if part not in linears),
    )
    cache = layer.no_states()
    layer.call(cache, *call.between(0, NUM_TOKENS))
    conv, recurrent = _shapes(cache.layer.conv_states), _shapes(cache.layer.recurrent_states)
    if not conv and not recurrent:
        return None
    return replace(layer, conv=conv, recurrent=recurrent)


def _shapes(states: dict[int, Tensor | None]) -> dict[int, StateShape]:
    return {
        number: StateShape(tuple(state.shape[1:]), state.dtype)
        for number, state in states.items()
        if state is not None
    }


def _goes_on_by_rows(layer: RecurrentLayer, call: _Call) -> bool:
    """Whether what it answers to several tokens behind its states is what it would have answered,
    had they come with those before them. Some modules leave their states aside then."""
    call, precise = call.precise(), deepcopy(layer.module).float()
    layer = replace(layer, module=precise, forward=precise.forward)
    whole = _tokens(layer.call(None, *call.between(0, NUM_TOKENS)))[:, _CUT:]
    cache = layer.no_states()
    layer.call(cache, *call.between(0, _CUT))
    cache.go_on()
    behind = _tokens(layer.call(cache, *call.between(_CUT, NUM_TOKENS)))
    return _size(behind - whole) <= _NOISE * _size(whole)


def _tokens(answer: Any) -> Tensor:
    """The tensor (1, tokens, …) of an answer, in which others may come behind."""
    tensor: Tensor = answer[0] if isinstance(answer, tuple) else answer
    return tensor


def _precise(entry: Any) -> Any:
    """Numbers with a fraction in float32."""
    if isinstance(entry, tuple):
        return tuple(_precise(each) for each in entry)
    has_fraction = isinstance(entry, Tensor) and entry.is_floating_point()
    return entry.float() if has_fraction else entry


def _size(tensor: Tensor) -> float:
    return float(tensor.square().mean().sqrt())
