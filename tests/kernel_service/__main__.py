"""A runner in a process of its own: `python -m tests.kernel_service DATABASE_URL FOLDER [WORKER_ID]`."""

import asyncio
import signal
import sys
from pathlib import Path

from simulacra.store import Database
from tests.kernel_service.bench import Bench


async def main() -> None:
    """Runs steps until terminated, and then hands back what it runs."""
    url, folder, *worker_id = sys.argv[1:]
    database = Database(url, schema="kernel_service")
    bench = Bench(database, Path(folder))
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await bench.start(worker_id=worker_id[0] if worker_id else None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await stopped.wait()
    await bench.close()
    await database.close()


asyncio.run(main())
