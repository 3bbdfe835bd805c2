"""Runs the service: `python -m simulacra_connector [serve|migrate]`."""

import sys

from simulacra.rpc import main
from simulacra_connector.app import create, migrate
from simulacra_connector.settings import ConnectorSettings

if __name__ == "__main__":
    sys.exit(main(ConnectorSettings, create=create, migrate=migrate))
