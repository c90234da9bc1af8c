"""Which precision a device gains from; decided from what the processor says, never set globally."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from ..errors import InputError


def prefers_bf16(device: torch.device | str = "cpu") -> bool:
    """Whether bfloat16 is faster than float32 on ``device``: a CPU with bf16 instructions, a GPU that supports it."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    if kind == "cpu":
        # No public name yet; a PyTorch without these is one that cannot tell, and float32 is always right.
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, bool)() for check in checks)
    return False


def autocast(device: torch.device | str, enabled: bool) -> AbstractContextManager[None]:
    """bfloat16 autocast on ``device`` where ``enabled``."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=enabled)


def check_device(device: torch.device | str | None, option: str = "device") -> None:
    """Raise InputError where a device that was asked for, by an ``option``, cannot be used; None asks for none."""
    if device is None:
        return
    try:
        torch.ones(1, device=device).item()  # "meta" has tensors, but nothing is ever computed there
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{option} {device}: cannot be used here ({reason})") from None
