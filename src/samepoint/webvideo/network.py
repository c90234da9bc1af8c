"""How the web is reached: what searching and downloading have in common."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class NetworkSettings(BaseModel):
    """Manners and limits of every request; each of the two stages has its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout: float = Field(20.0, gt=0)  # seconds without an answer
    attempts: int = Field(4, ge=1)  # at a video or a search, the first included
    backoff: float = Field(2.0, ge=0)  # seconds before the second attempt; twice as many before each further one
    longest_wait: float = Field(120.0, ge=0)  # seconds; a server that asks for more (Retry-After) is given up
    pause: float = Field(0.5, ge=0)  # seconds between the requests of a worker
    cookies: Path | None = None  # a cookies.txt in Netscape's format; read, never written
    proxy: str | None = None  # http://host:port; the environment's proxies are not used
    allow_internal: bool = False  # addresses of this machine and of private networks too
    javascript: Literal["deno", "node", "bun", "quickjs"] | None = None  # a program that yt-dlp may run, for YouTube
    extractors: tuple[str, ...] = ("default",)  # of yt-dlp, by their names or patterns of names

    @field_validator("extractors")
    @classmethod
    def _are_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"expected names or patterns of names; {pattern} is none ({error})") from None
        return value
