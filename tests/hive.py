"""A HiveServer2 for tests: Spark's Thrift server, where PySpark and Java are installed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.require import require

__all__ = ["HiveServer", "hive_server"]

_CLASS = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"


class HiveServer:
    """A server on loopback with a warehouse of its own; it takes any user."""

    def __init__(self, folder: Path, spark: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        settings = {
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "1",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
        }
        hive = {"bind.host": "127.0.0.1", "port": str(self.port)}
        command = [str(spark / "bin" / "spark-submit"), "--class", _CLASS, "--master", "local[1]"]
        command += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        command += [
            word
            for name, value in hive.items()
            for word in ("--hiveconf", f"hive.server2.thrift.{name}={value}")
        ]
        environment = os.environ | {"SPARK_HOME": str(spark)}
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "spark-internal"],
                stdout=log,
                stderr=log,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.2)

    def stop(self) -> None:
        """Kills it, and the JVM with it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture(scope="session")
def hive_server() -> Iterator[HiveServer]:
    """Spark's Thrift server; `SIMULACRA_TEST_SPARK` names its folder where PySpark is not installed here."""
    spec = find_spec("pyspark")
    given = os.environ.get("SIMULACRA_TEST_SPARK") or (
        spec.origin and str(Path(spec.origin).parent) if spec else ""
    )
    available = bool(given) and shutil.which("java") is not None
    require("hive", available, "no Spark; pip install pyspark, and Java, bring a HiveServer2")
    with tempfile.TemporaryDirectory(prefix="simulacra-hive-") as name:
        server = HiveServer(Path(name), Path(str(given)))
        try:
            yield server
        finally:
            server.stop()
