"""`python -m simulacra_gateway [serve|migrate]`."""

import sys

from simulacra.rpc import main
from simulacra_gateway.app import create, migrate
from simulacra_gateway.settings import GatewaySettings

if __name__ == "__main__":
    sys.exit(main(GatewaySettings, create=create, migrate=migrate))
