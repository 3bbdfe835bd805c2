"""Where S3 is spoken, and in which region that is."""

from typing import Any

import pytest

from simulacra.errors import InvalidArgument
from simulacra_connector.drivers.buckets.regions import s3_endpoint


@pytest.mark.parametrize(
    ("config", "scheme", "authority", "region"),
    [
        ({}, "https", "s3.amazonaws.com:443", "us-east-1"),
        ({"sslEnabled": False}, "https", "s3.amazonaws.com:443", "us-east-1"),
        ({"endpointUrl": "http://minio:9000/"}, "http", "minio:9000", "us-east-1"),
        ({"endpointUrl": "http://minio", "sslEnabled": True}, "https", "minio:443", "us-east-1"),
        ({"endpointUrl": "minio:9000"}, "http", "minio:9000", "us-east-1"),
        ({"endpointUrl": "minio:9000", "sslEnabled": True}, "https", "minio:9000", "us-east-1"),
        ({"endpointUrl": "https://[::1]:9000"}, "https", "[::1]:9000", "us-east-1"),
        (
            {"endpointUrl": "https://s3.cn-north-1.amazonaws.com.cn"},
            "https",
            "s3.cn-north-1.amazonaws.com.cn:443",
            "cn-north-1",
        ),
        (
            {"endpointUrl": "https://bucket.vpce-1a.s3.us-gov-west-1.vpce.amazonaws.com"},
            "https",
            "bucket.vpce-1a.s3.us-gov-west-1.vpce.amazonaws.com:443",
            "us-gov-west-1",
        ),
        (
            {"endpointUrl": "https://s3.eu-west-1.example.com"},
            "https",
            "s3.eu-west-1.example.com:443",
            "us-east-1",
        ),
    ],
)
def test_an_endpoint_is_what_its_url_says(
    config: dict[str, Any], scheme: str, authority: str, region: str
) -> None:
    endpoint = s3_endpoint(config)
    assert (endpoint.scheme, endpoint.authority, endpoint.region) == (scheme, authority, region)


@pytest.mark.parametrize(
    "url",
    ["http://host:port", "http://host:0", "http://host:99999", "http://[::1", "ftp://host", "http://", "http://u@h",
     "http://h/path"],
)  # fmt: skip
def test_no_endpoint(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"http\(s\)://host"):
        s3_endpoint({"endpointUrl": url})
