"""Runs the service: `python -m simulacra_generator [serve|migrate]`."""

import sys

from simulacra.rpc import main
from simulacra_generator.app import create, migrate
from simulacra_generator.settings import GeneratorSettings

if __name__ == "__main__":
    sys.exit(main(GeneratorSettings, create=create, migrate=migrate))
