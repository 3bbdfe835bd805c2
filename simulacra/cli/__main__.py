"""`python -m simulacra.cli` is the `simulacra` command."""

from simulacra.cli import main

main()
