"""AWS as the local stack sees it: the emulator, and nothing of the user's own AWS set-up."""

import functools
import os
from typing import Any

import botocore.session
from botocore.config import Config

HOST = "127.0.0.1"
REGION = "eu-west-1"
ACCESS_KEY = SECRET_KEY = "local"
UNSET = (None, None, None, None)
NO_FILE = (None, None, os.devnull, None)


def client(service: str, endpoint: str) -> Any:
    """Return a boto3 client of the emulator. The caller declares its type."""
    return session().create_client(
        service,
        REGION,
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(proxies={}),
    )


@functools.cache  # it reads botocore's description of a service once, which takes longer than most calls
def session() -> botocore.session.Session:
    return botocore.session.Session({"profile": UNSET, "config_file": NO_FILE, "credentials_file": NO_FILE})


def environment(endpoint: str) -> dict[str, str]:
    """Return the environment for a child process: the user's, with the emulator instead of AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "NO_PROXY": HOST,
        "no_proxy": HOST,
    }
