"""The published numbers are those of the specification, and complete enough to be compared."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from samepoint.evaluation.names import SCORING
from samepoint.evaluation.published import PUBLISHED
from samepoint.evaluation.result_file import EXPECTED
from tests.shared import shared_path


def test_every_row_is_of_a_benchmark_and_a_protocol_that_exist() -> None:
    for row in PUBLISHED:
        assert row.benchmark in EXPECTED
        assert row.protocol in (None, "pips2", *SCORING[row.benchmark]), row
        assert (row.query_mode in ("first", "strided")) == (
            row.benchmark.startswith("tapvid") or row.benchmark == "robotap"
        )
        assert row.metrics
        for number in row.metrics.values():
            low = float(number.text.split("-")[0])
            assert 0 < low < 100
            assert number.value is None or number.value == low


def test_no_row_is_there_twice() -> None:
    keys = Counter((row.benchmark, row.method, row.query_mode, row.size) for row in PUBLISHED)
    assert [key for key, count in keys.items() if count > 1] == []


@pytest.mark.parametrize(
    ("benchmark", "method", "metric", "text", "confidence"),
    [
        ("tapvid-davis", "BootsTAPIR, paper", "AJ", "61.4", "M"),
        ("tapvid-davis", "FGVC R18", "delta_avg", "62.8", "H"),
        ("tapvid-kinetics", "TAPTRv3", "AJ", "54.5-54.9", "M"),
        ("jhmdb", "CRW, released weights", "PCK@0.2", "79.6", "H"),
        ("davis-2017", "VFS R18", "F_mean", "69.5", "H"),
        ("pf-willow", "SCorrSAN", "PCK@0.1 (averaging not stated)", "80.0", "H"),
    ],
)
def test_some_by_hand(benchmark: str, method: str, metric: str, text: str, confidence: str) -> None:
    row = next(row for row in PUBLISHED if (row.benchmark, row.method) == (benchmark, method))
    assert (row.metrics[metric].text, row.metrics[metric].confidence) == (text, confidence)


def test_the_mean_of_single_items_is_the_number_of_the_set() -> None:
    (row,) = [row for row in PUBLISHED if row.per_item]
    assert math.isclose(sum(row.per_item.values()) / 7, 64.4, abs_tol=0.05)


def test_every_number_stands_in_the_specification_with_its_confidence() -> None:
    text = shared_path("specs", "benchmarks.md").read_text(encoding="utf-8")
    section = (
        text[text.index("## 10. Published numbers") : text.index("### 10.7")] + text[text.index("9. Supervised") :]
    )
    section = section.replace("(all M)", "").replace("68.7 / 64.0 / 62.8 / 45.4", "68.7 M / 64.0 M / 62.8 M / 45.4 M")
    section = section.replace("10.5 / 11.2 / 8.4 / 9.6 (M)", "10.5 M / 11.2 M / 8.4 M / 9.6 M")
    stated = Counter(re.findall(r"(?<![\d.])(\d+\.\d(?:-\d+\.\d)?)( M)?", section))
    for row in PUBLISHED:
        for number in row.metrics.values():
            assert stated[number.text, " M" if number.confidence == "M" else ""], (row.method, number)
