"""Tokens of pages and watches."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulacra.errors import ResumeTokenInvalid
from simulacra.store import decode_token, encode_token


@given(st.integers(), st.text())
def test_a_token_gives_back_what_it_was_made_of(number: int, text: str) -> None:
    assert decode_token(encode_token(number, text), int, str) == [number, text]


@given(st.text())
def test_no_text_breaks_the_reader_of_tokens(text: str) -> None:
    with contextlib.suppress(ResumeTokenInvalid):
        assert isinstance(decode_token(text, int)[0], int)


@pytest.mark.parametrize(
    "token", ["", "x", "AAAA", encode_token("a"), encode_token(1, 2), encode_token(None)]
)
def test_tokens_of_others_are_refused(token: str) -> None:
    with pytest.raises(ResumeTokenInvalid, match="start without one"):
        decode_token(token, int)
