"""SSSCWEB (WACV 2024): CATs' matcher with 8 heads."""

from __future__ import annotations

from .cats import IGNORED, SIGNATURE, build_with, kept, remark, rename
from .kind import Kind

KIND = Kind(
    name="ssscweb",
    title="SSSCWEB, Self-supervised Learning of Semantic Correspondence Using Web Videos, WACV 2024",
    licence="none stated",
    signature=SIGNATURE,
    prefixes=("",),
    rename=rename,
    build=build_with(8),
    ignored=IGNORED,
    kept=kept,
    remark=remark,
    choices=("heads", "gelu"),
)
