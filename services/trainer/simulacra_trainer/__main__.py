"""Runs the service: `python -m simulacra_trainer [serve|migrate]`."""

import sys

from simulacra.rpc import main
from simulacra_trainer.app import create, migrate
from simulacra_trainer.settings import TrainerSettings

if __name__ == "__main__":
    sys.exit(main(TrainerSettings, create=create, migrate=migrate))
