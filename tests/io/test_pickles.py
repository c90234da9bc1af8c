"""Pickles of plain content that hold the same thing many times over."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from samepoint.errors import InputError
from samepoint.io.pickles import parse_pickle


def test_what_is_held_many_times_is_built_once() -> None:
    content: Any = ["x"]
    for _ in range(40):  # 2^40 lists, were each built anew
        content = [content, content]
    read = parse_pickle(pickle.dumps(content))
    for _ in range(40):
        assert read[0] is read[1]
        read = read[0]
    assert read == ["x"]


def test_what_holds_itself_is_refused() -> None:
    content: list[Any] = []
    content.append(content)
    with pytest.raises(InputError, match="not a pickle of plain content"):
        parse_pickle(pickle.dumps(content))
