"""A card that is not there: tensors that lie on the CPU and say that they lie on cuda.

Within `fake_cuda` the code runs as on a machine with a GPU: `torch.cuda.is_available()` is true,
`.to("cuda")` and `device="cuda"` give tensors whose device is cuda:0, and an operation on tensors
of both devices is refused as CUDA refuses it. Their numbers are real, for they are the CPU's: what
runs through gives what the CPU gives. (torch's FakeTensorMode has no numbers, so nothing that looks
at one would run, and a CPU build of torch makes it no generator.)
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch._dynamo  # later it would look for the card
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from models import streams
from trials.objectives import generating

CUDA = torch.device("cuda", 0)
MOVES = {Tensor.to, Tensor.cpu, Tensor.cuda}
READS = {Tensor.numpy, Tensor.__array__}
MAY_MIX = {Tensor.copy_, torch._has_compatible_shallow_copy_type}  # type: ignore[attr-defined]


class OnCuda(Tensor):
    """A tensor that says that it lies on cuda:0."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """What a process without that card says of such a pickle."""
        raise pickle.PicklingError("a tensor on cuda would travel to a process without that device")


class FakeGenerator(torch.Generator):
    """A generator on the CPU that says where it was asked for."""

    def __new__(cls, device: Any = "cpu") -> FakeGenerator:
        """On the CPU in any case."""
        return super().__new__(cls)

    def __init__(self, device: Any = "cpu") -> None:
        self.on_cuda = _is_cuda(device)

    @property
    def device(self) -> torch.device:
        """Where it says that it lies."""
        return CUDA if self.on_cuda else torch.device("cpu")


class FakeAutocast(torch.autocast):
    """That of cuda is done on the CPU."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


class FakeStream(torch.Stream):
    """A stream whose work is done at once."""

    def __new__(cls) -> FakeStream:
        """On the CPU."""
        return super().__new__(cls, device="cpu")

    def wait_stream(self, other: torch.Stream) -> None:
        """Its work is done."""

    def record_event(self, event: Any = None) -> Any:
        """Something to wait for."""
        return event

    def wait_event(self, event: Any) -> None:
        """It is done."""


MEMORY: dict[str, Callable[..., Any]] = {
    "mem_get_info": lambda: (2**36, 2**37),
    "memory_allocated": lambda: 0,
    "memory_reserved": lambda: 0,
    "max_memory_allocated": lambda: 2**20,
    "reset_peak_memory_stats": lambda: None,
}
"""What the card says of its memory."""


class _Cuda(TorchFunctionMode):
    """Answers every call of torch's functions."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return CUDA if isinstance(first, OnCuda) else func(*args)
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return isinstance(first, OnCuda)
        if func is Tensor.pin_memory:
            return first
        if func is Tensor.record_stream:
            return None
        if func in MOVES:
            return _moved(func, args, kwargs)
        if func in READS and isinstance(first, OnCuda):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func is Tensor.__deepcopy__ and isinstance(first, OnCuda):
            return _copied(first, args[1])
        made_there = _is_cuda(kwargs.get("device"))
        if made_there:
            kwargs["device"] = "cpu"
        tensors = [*_tensors(args), *_tensors(list(kwargs.values()))]
        _refuse_a_mix(func, first, tensors)
        lies_there = made_there or any(isinstance(x, OnCuda) for x in tensors)
        _refuse_another_generator(kwargs.get("generator"), lies_there)
        with torch._C.DisableTorchFunctionSubclass():
            found = func(*args, **kwargs)
        elsewhere = not made_there and kwargs.get("device") is not None
        return found if elsewhere or not lies_there else _on_cuda(found)


def _tensors(values: Any) -> Iterator[Tensor]:
    """Those among the values, and in lists and tuples of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _on_cuda(found: Any) -> Any:
    """What a function gave, its tensors on cuda."""
    if isinstance(found, list | tuple) and not isinstance(found, torch.Size):
        return type(found)(map(_on_cuda, found))
    if not isinstance(found, Tensor) or isinstance(found, OnCuda) or found.is_meta:
        return found
    return found.as_subclass(OnCuda)


def _is_cuda(device: Any) -> bool:
    return isinstance(device, str | torch.device) and torch.device(device).type == "cuda"


def _moved(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Tensor:
    """`to`, `cpu` or `cuda`; the tensor itself where nothing changes."""
    tensor, *rest = args
    target: Any = {Tensor.cpu: "cpu", Tensor.cuda: "cuda"}.get(func)
    if func is Tensor.to:
        given = [*rest, kwargs.pop("device", None), kwargs.pop("other", None)]
        of = [x.device if isinstance(x, Tensor) else x for x in given]
        here = CUDA if isinstance(tensor, OnCuda) else tensor.device
        target = next((x for x in of if isinstance(x, str | torch.device)), here)
        dtypes = [x.dtype if isinstance(x, Tensor) else x for x in given]
        wanted = next((x for x in dtypes if isinstance(x, torch.dtype)), None)
        kwargs = {"dtype": kwargs.get("dtype") or wanted or tensor.dtype}
        kwargs["copy"] = next((x for x in rest[2:3] if isinstance(x, bool)), False)
    plain = tensor
    if isinstance(tensor, OnCuda) != _is_cuda(target):  # to another device it is always a copy
        plain = tensor.detach().clone() if not tensor.requires_grad else tensor.clone()
    with torch._C.DisableTorchFunctionSubclass():
        if isinstance(plain, OnCuda) and not _is_cuda(target):
            plain = plain.as_subclass(Tensor)
        if func is Tensor.to:
            where = {} if _is_cuda(target) else {"device": target}
            plain = plain.to(**where, **kwargs)
        return _on_cuda(plain) if _is_cuda(target) else plain


def _copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(tensor) not in memo:
        found = tensor.detach().clone().as_subclass(OnCuda).requires_grad_(tensor.requires_grad)
        if isinstance(tensor, torch.nn.Parameter):
            found._is_param = True  # type: ignore[attr-defined]
        memo[id(tensor)] = found
    return memo[id(tensor)]


def _refuse_a_mix(func: Callable[..., Any], first: Any, tensors: list[Tensor]) -> None:
    """A number on the CPU may meet a tensor on cuda, and indices on the CPU may choose of it."""
    if func in MAY_MIX:
        return
    if func in (Tensor.__getitem__, Tensor.__setitem__) and isinstance(first, OnCuda):
        return
    there = any(isinstance(x, OnCuda) for x in tensors)
    if there and any(not isinstance(x, OnCuda) and x.ndim > 0 for x in tensors):
        raise RuntimeError(
            f"{getattr(func, '__name__', func)}: Expected all tensors to be on the same device, "
            "but found at least two devices, cuda:0 and cpu!"
        )


def _refuse_another_generator(generator: Any, lies_there: bool) -> None:
    if isinstance(generator, FakeGenerator) and generator.on_cuda != lies_there:
        raise RuntimeError("Expected a generator of the device of the tensor")


_save = torch.save


def _saved(content: Any, *args: Any, **kwargs: Any) -> None:
    """torch writes the content of a tensor on cuda as it does any other."""
    _save(tree_map_only(Tensor, lambda x: x.cpu(), content), *args, **kwargs)


@contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it this process has a card."""
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
        patch.setattr(generating, "product_flops", lambda _: 1e15)
        patch.setattr(torch.cuda, "Stream", FakeStream)
        patch.setattr(torch.cuda, "current_stream", FakeStream)
        patch.setattr(streams, "_maker", lambda: torch.cuda.Stream())  # a patched one is not kept
        patch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        for name, answer in MEMORY.items():
            patch.setattr(torch.cuda, name, answer)
        patch.setattr(torch, "Generator", FakeGenerator)
        patch.setattr(torch, "autocast", FakeAutocast)
        patch.setattr(torch, "save", _saved)
        overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
        # Else a module keeps its parameters' objects, and they their devices.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with _Cuda():
                yield
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwritten)
