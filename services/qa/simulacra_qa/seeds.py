"""Seeds as users give them, any 64-bit integer, and as libraries take them."""

__all__ = ["seed_of"]


def seed_of(number: int) -> int:
    """Returns the seed of a user's number: itself below 2^32, which is what scikit-learn takes."""
    return number % 2**32
