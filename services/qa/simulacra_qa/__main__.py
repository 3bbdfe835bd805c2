"""Runs the service: `python -m simulacra_qa [serve|migrate]`."""

import sys

from simulacra.rpc import main
from simulacra_qa.app import create, migrate
from simulacra_qa.settings import QaSettings

if __name__ == "__main__":
    sys.exit(main(QaSettings, create=create, migrate=migrate))
