"""The table of checks."""

from __future__ import annotations

import pytest

from samepoint.datasets.check import NAMES, check
from samepoint.errors import InputError


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_lacks_everything_and_says_so(tmp_path, name) -> None:
    answer = check(name, tmp_path)
    assert (answer.name, answer.root, answer.found, answer.complete) == (name, tmp_path, 0, False)
    assert all(isinstance(line, str) and "\n" not in line for line in answer.missing + answer.notes)


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no data set is called 'PF_Willow'; did you mean pf-willow\?"):
        check("PF_Willow", tmp_path)
    with pytest.raises(InputError, match="'zzz'; expected one of tapvid-davis, "):
        check("zzz", tmp_path)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        check("badja", tmp_path / "nowhere")
