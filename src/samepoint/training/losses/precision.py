"""Softmaxes over many cells want float32, whatever precision the network runs in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def in_full_precision(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorator: float16 and bfloat16 tensors arrive as float32 (also within tuples), and autocast is off inside."""

    @wraps(function)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        inputs: Any = [_full(value) for value in args]
        named: Any = {name: _full(value) for name, value in kwargs.items()}
        with torch.autocast(_device_type([*inputs, *named.values()]), enabled=False):
            return function(*inputs, **named)

    return wrapped


def _full(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_full(each) for each in value)
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def _device_type(values: list[Any]) -> str:
    for value in values:
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Tensor):
                return each.device.type
    return "cpu"
