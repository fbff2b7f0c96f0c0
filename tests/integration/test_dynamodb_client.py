"""DynamoDB's client: it reads less of botocore's data, asks the same endpoints, and starts well from a snapshot."""

import gc
import json
import random
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ConnectTimeoutError, SSLError
from botocore.session import Session, get_session
from mypy_boto3_dynamodb import DynamoDBClient

from benchmark import tls
from engines import aws_engine_only
from faults import cancelled, faults, no_connection
from table import calls
from table.calls import FAIL_FAST_CONFIG, DynamoDBLoader, Table, new_client
from table.expressions import Put
from table.primary_keys import Key
from tools import roots


def regions() -> list[str]:
    partitions = Session().get_available_partitions()
    return sorted(region for each in partitions for region in Session().get_available_regions("dynamodb", each))


def request_of(client: Any) -> tuple[str, str, bytes, set[str]]:
    """The address of a request, the scope of its signature, its body, and the names of its headers."""
    sent: list[Any] = []

    def stop(request: AWSPreparedRequest) -> None:
        sent.append(request)
        no_connection(request)

    with faults(client, "TransactWriteItems", stop), pytest.raises(ConnectTimeoutError):
        client.transact_write_items(TransactItems=[{"Put": {"TableName": "Table", "Item": {"pk": {"S": "any"}}}}])
    [request] = sent
    scope = request.headers["Authorization"].decode().split("/", 2)[2].split(",")[0]
    token = json.loads(request.body).pop("ClientRequestToken")
    return request.url, scope, request.body.replace(token.encode(), b""), set(request.headers)


@pytest.mark.parametrize("fips", ["false", "true"])
def test_it_sends_the_same_request_in_every_region(monkeypatch: pytest.MonkeyPatch, fips: str) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", fips)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCOUNT_ID", "123456789012")
    stock_loader, loader = get_session().get_component("data_loader"), DynamoDBLoader()
    monkeypatch.setattr(calls, "DynamoDBLoader", lambda: loader)
    values: Any = new_client(FAIL_FAST_CONFIG).meta.service_model.shape_for("AttributeValue")
    assert values.is_document_type, "botocore does not walk them"
    all_regions = regions()
    assert "cn-north-1" in all_regions
    for region in all_regions:
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)
        stock = get_session()
        stock.register_component("data_loader", stock_loader)
        assert request_of(new_client(FAIL_FAST_CONFIG)) == request_of(stock.create_client("dynamodb"))


@aws_engine_only
def test_over_tls_it_trusts_the_roots_that_it_is_given_and_no_others(
    engine: DynamoDBClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, bundle = trustme.CA(), tmp_path / "roots.pem"
    with tls.in_front_of(engine.meta.endpoint_url, authority) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
        bundle.write_bytes(roots.FILE.read_bytes())
        with pytest.raises(SSLError, match="certificate verify failed"):
            new_client().list_tables()
        bundle.write_bytes(roots.FILE.read_bytes() + authority.cert_pem.bytes())
        url = urlsplit(endpoint)
        unfinished = socket.create_connection((url.hostname, url.port))  # it never begins its handshake
        assert new_client().list_tables()["TableNames"] is not None
    unfinished.close()
    gc.collect()  # what the server left open is a ResourceWarning


def test_the_client_retries_and_stops_as_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")
    client = new_client()
    with faults(client, "ListTables") as attempts, pytest.raises(Exception, match="Could not connect"):
        client.list_tables()
    assert len(attempts) == 2


@aws_engine_only
def test_functions_from_one_snapshot_do_not_wait_alike(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[tuple[float, ...]] = []
    for _ in range(2):
        random.seed(1)  # the state in the snapshot
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        with faults(table.client, "TransactWriteItems", *[cancelled("TransactionConflict")] * 3):
            assert table.write([Put(Key("a", "b"), {})]) is None
        waited.append(tuple(pauses))
    assert len(waited[0]) == 3
    assert waited[0] != waited[1]
