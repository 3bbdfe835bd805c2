"""Files that are called after people's things, and things that are shown."""

from simulacra.domain.text import file_stems, safe_file_name, visible


def test_no_two_names_share_a_file() -> None:
    names = ["a/b", "c/b", "a_b", "A/B", "b", "a_b_2"]
    stems = file_stems(names)
    assert list(stems) == names
    assert len({stem.lower() for stem in stems.values()}) == len(names)
    assert stems["a/b"] == "a_b"
    assert stems["c/b"] == "c_b"


def test_a_file_name_stays_in_its_folder() -> None:
    for name in ("../../etc/passwd", "..", "/", "C:\\x", "a\0b", ".hidden", "x" * 300):
        stem = safe_file_name(name)
        assert stem
        assert not set(stem) & set("/\\\0:")
        assert not stem.startswith(".")
        assert len(stem) <= 128


def test_control_characters_are_spelt_out() -> None:
    assert visible("\x1b[31mrot\x9b\n\0 ü 人") == r"\x1b[31mrot\x9b\n\x00 ü 人"
