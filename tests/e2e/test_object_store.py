"""Five processes whose artifacts are in an S3 bucket, as on a cluster without a shared file system."""

from pathlib import Path

import pandas as pd
import pyarrow.fs as pafs
import pytest

from simulacra.client import AsyncSimulacra
from simulacra.domain import ProgressStatus
from tests.buckets import Storage, s3_storage
from tests.e2e.platform import running_platform
from tests.e2e.scenes import people, training_under_way, until

__all__ = ["s3_storage"]  # a fixture


@pytest.fixture
def bucket(s3_storage: Storage) -> str:
    """The name of an empty bucket."""
    s3_storage.filesystem.create_dir("artifacts")
    return "artifacts"


async def test_everything_works_on_a_bucket(tmp_path: Path, s3_storage: Storage, bucket: str) -> None:
    endpoint = str(s3_storage.config["endpointUrl"]).partition("//")[2]
    url = f"s3://{bucket}/simulacra?region=us-east-1&scheme=http&endpoint_override={endpoint}"
    credentials = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    async with (
        running_platform(tmp_path, SIMULACRA_ARTIFACTS_URL=url, **credentials) as platform,
        AsyncSimulacra(platform.address, platform.api_key) as client,
    ):
        generator, job_id = await training_under_way(client)
        [worker, *_] = platform.workers("trainer")
        worker.kill()
        await until(client, job_id, 1, seconds=60)
        await client.jobs.cancel(job_id)
        await until(client, job_id, ProgressStatus.CANCELED, seconds=10)
        await generator.delete()

        generator = await client.train(
            data=people(2_000), name="people", model_configuration={"max_epochs": 3}, progress_bar=False
        )
        assert generator.training_status == ProgressStatus.DONE
        dataset = await client.generate(generator, size=500, seed=7, progress_bar=False)
        rows = await dataset.data()
        assert isinstance(rows, pd.DataFrame)
        assert len(rows) == 500
        assert len(await client.probe(generator, size=3)) == 3
        await dataset.delete()
        await generator.delete()
    left = s3_storage.filesystem.get_file_info(pafs.FileSelector(bucket, recursive=True))
    names = [info.path for info in left if info.type == pafs.FileType.File]
    assert not [name for name in names if "uploads/" not in name and "reports/" not in name], names
