"""Signed principals: what is signed comes back, what is forged or old does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulacra.errors import UnsignedCall
from simulacra.rpc import Limits, Principal, PrincipalSigner, acting_as, current_principal

KEY = b"k" * 32
ANN = Principal("1", "Ann", limits=Limits(parallel_training_jobs=2))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
counts = st.none() | st.integers(0, 100)
principals = st.builds(
    Principal, texts, texts, st.booleans(), st.builds(Limits, counts, counts), service=st.none() | texts
)


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@given(principal=principals)
def test_a_signed_principal_comes_back(principal: Principal) -> None:
    assert PrincipalSigner(KEY).verify(PrincipalSigner(KEY).sign(principal)) == principal
    assert Principal.from_json(principal.to_json()) == principal


@pytest.mark.parametrize("token", ["", ".", "a.b", "e30.", "é.é", "e30.AAAA"])
def test_what_is_not_a_token_is_refused(token: str) -> None:
    with pytest.raises(UnsignedCall):
        PrincipalSigner(KEY).verify(token)


def test_another_key_or_a_changed_body_is_refused() -> None:
    token = PrincipalSigner(KEY).sign(ANN)
    with pytest.raises(UnsignedCall, match="same internal key"):
        PrincipalSigner(b"x" * 32).verify(token)
    body, signature = token.split(".")
    with pytest.raises(UnsignedCall):
        PrincipalSigner(KEY).verify(f"{body[:-2]}AA.{signature}")


def test_a_token_is_reused_for_seconds_and_dies_after_minutes() -> None:
    clock = Clock()
    signer = PrincipalSigner(KEY, clock=clock)
    token = signer.sign(ANN)
    clock.now += 5
    assert signer.sign(ANN) == token
    clock.now += 10
    assert signer.sign(ANN) != token
    assert signer.verify(token) == ANN
    clock.now += 300
    with pytest.raises(UnsignedCall, match="too old"):
        signer.verify(token)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        PrincipalSigner(b"short")


def test_code_outside_of_a_call_has_no_principal() -> None:
    with pytest.raises(UnsignedCall):
        current_principal()
    with acting_as(ANN):
        assert current_principal() == ANN
    with pytest.raises(UnsignedCall):
        current_principal()
