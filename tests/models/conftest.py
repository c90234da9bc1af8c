"""A Hub of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session

from tests.models.hub_server import Hub, isolate, serve


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """An empty Hub on the loopback, the only one that is known."""
    stand_in = Hub()
    with serve(stand_in) as address:
        isolate(monkeypatch, tmp_path, address)
        yield stand_in
        close_session()
