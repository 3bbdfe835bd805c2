"""Patterns of files in buckets."""

import pytest

from simulacra_connector.drivers.buckets.paths import is_pattern, matches, pattern_root


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("b/t/*.csv", "b/t/a.csv", True),
        ("b/t/*.csv", "b/t/.csv", True),
        ("b/t/*.csv", "b/t/x/a.csv", False),
        ("b/t/**.csv", "b/t/x/a.csv", True),
        ("b/**/a.csv", "b/a.csv", True),
        ("b/**/a.csv", "b/x/y/a.csv", True),
        ("b/**/a.csv", "b/xa.csv", False),
        ("b/year=*/part-?.csv", "b/year=2024/part-1.csv", True),
        ("b/year=*/part-?.csv", "b/year=2024/part-10.csv", False),
        ("b/part-[12]*", "b/part-2.csv", True),
        ("b/part-[12]*", "b/part-3.csv", False),
        ("b/part-[!12]*", "b/part-3.csv", True),
        ("b/part-[0-9]*", "b/part-3.csv", True),
        ("b/part-[9-0]*", "b/part-[9-0]x", True),
        ("b/year[2024]/*", "b/year[2024]/a.csv", True),
        ("b/a?[!b]", "b/ab/", False),
        ("b/a+(*).csv", "b/a+(x).csv", True),
        ("b/a^[^x]*", "b/a^^", True),
    ],
)
def test_pattern(pattern: str, path: str, found: bool) -> None:
    assert matches(path, pattern) is found


def test_root_of_a_pattern_has_no_sign_in_it() -> None:
    assert pattern_root("b/x/y*/z") == "b/x"
    assert pattern_root("b/x/y[12]/*") == "b/x"
    assert pattern_root("b/*") == "b"
    assert not is_pattern("b/x[1].csv")
