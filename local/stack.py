"""Deploys this repository's template.yaml into an AWS emulator on this machine.

`make run` keeps its state in a folder; HTTP tests throw theirs away:

    with stack.running() as it:
        key = it.create_key("some-account")
        requests.post(f"{it.api_url}/user/", headers={"Authorization": key}, json={"email": "ana@example.com"})
"""

import contextlib
import hashlib
import http.client
import io
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, WaiterError

from local import aws, gateway
from local.emulator import READY

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).parent.parent
STACK_NAME = "event-api"
START_SECONDS = 60
SAVE_SECONDS = 60
DEPLOY_SECONDS = 60
BUCKET = "event-api-code"
FIRST_PORT, PORTS_OF_A_PROCESS = 20_000, 20
_TAKEN = itertools.count()


class StackError(Exception):
    """Raised with one line for the user."""


@dataclass(frozen=True)
class Stack:
    endpoint: str
    """Where the emulated AWS services listen; for `aws.client`."""
    api_url: str
    emulator: subprocess.Popen[bytes]

    def create_key(self, account: str, scopes: Sequence[str] = ()) -> str:
        return create_key(self.endpoint, account, scopes)


@contextlib.contextmanager
def running(port: int = 0, folder: Path | None = None, parameters: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Run the deployed stack until the block ends.

    Port 0 chooses a free one. Without a folder no data is kept. `parameters` are those of template.yaml.
    """
    port = port or free_port()
    endpoint = f"http://{aws.HOST}:{port}"
    with working_folder(folder) as work, emulator(port, work, persist=folder is not None) as process:
        deploy(endpoint, parameters or {})
        api_id = outputs(endpoint)["ApiId"]
        gateway.complete(endpoint, STACK_NAME, api_id)
        print_ready(process)
        yield Stack(endpoint, api_url(endpoint, api_id), process)


def api_url(endpoint: str, api_id: str) -> str:
    """By path, because not every system resolves the name <api id>.execute-api.localhost."""
    return f"{endpoint}/_aws/execute-api/{api_id}/v1"


def create_key(endpoint: str, account: str, scopes: Sequence[str] = ()) -> str:
    """Create a key on the stack. Without scopes it has all. Raise StackError if the stack refuses it."""
    functions: LambdaClient = aws.client("lambda", endpoint)
    limits = {"scopes": list(scopes)} if scopes else {}
    request = json.dumps({"action": "create", "account": account} | limits)
    answer = functions.invoke(FunctionName=outputs(endpoint)["KeyFunctionName"], Payload=request)
    result = json.load(answer["Payload"])
    if "apiKey" not in result:
        raise StackError(f"No key was made: {json.dumps(result)}")
    key: str = result["apiKey"]
    return key


def outputs(endpoint: str, stack_name: str = STACK_NAME) -> dict[str, str]:
    cloudformation: CloudFormationClient = aws.client("cloudformation", endpoint)
    [stack] = cloudformation.describe_stacks(StackName=stack_name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def is_up(endpoint: str) -> bool:
    connection = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/_ministack/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def working_folder(folder: Path | None) -> Iterator[Path]:
    """Yield the given folder or a temporary one, with an empty tmp/ for the emulator."""
    with contextlib.ExitStack() as stack:
        work = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="event-api-")))
        temporary = work / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        yield work


@contextlib.contextmanager
def emulator(port: int, work: Path, persist: bool) -> Iterator[subprocess.Popen[bytes]]:
    check_free(port)
    endpoint = f"http://{aws.HOST}:{port}"
    log = work / "emulator.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "local.emulator"],
            cwd=ROOT,
            env=aws.environment(endpoint) | emulator_settings(port, work, persist),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            bufsize=0,
            # A separate process group: Ctrl-C reaches only this process, which then stops the whole group.
            start_new_session=True,
        )
    try:
        wait_until_up(process, endpoint, log)
        yield process
    finally:
        stop(process)


def emulator_settings(port: int, work: Path, persist: bool) -> dict[str, str]:
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": aws.HOST,
        "MINISTACK_REGION": aws.REGION,
        "PERSIST_STATE": "1" if persist else "0",
        "STATE_DIR": str(work / "state"),
        "TMPDIR": str(work / "tmp"),
        "ACCESS_LOG": str(work / "requests.log"),
        "AUTH": "true",  # the functions may do what their roles allow, as on AWS; we are the root user
        # No second port, and hands off the user's containers.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///no-docker",
    }


def wait_until_up(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_up(endpoint):
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"The emulator did not start; see {log}")
        time.sleep(0.1)


def print_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(READY)


def stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SAVE_SECONDS)
    # Functions still at work, or an emulator that hangs.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def deploy(endpoint: str, parameters: Mapping[str, str]) -> None:
    """Deploy the template as `sam deploy` does without a build, but without its packages and two seconds of imports.

    The functions find their dependencies in the environment that runs the emulator.
    """
    cloudformation: CloudFormationClient = aws.client("cloudformation", endpoint)
    request = {
        "StackName": STACK_NAME,
        "TemplateURL": uploaded_template(endpoint),
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    }
    change = "update" if is_deployed(cloudformation) else "create"
    try:
        getattr(cloudformation, f"{change}_stack")(**request)
        waiter: Any = cloudformation.get_waiter(f"stack_{change}_complete")  # type: ignore[call-overload]
        waiter.wait(StackName=STACK_NAME, WaiterConfig={"Delay": 0.1, "MaxAttempts": 10 * DEPLOY_SECONDS})
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise StackError(f"template.yaml was not deployed: {error}") from error
    except WaiterError as error:
        raise StackError(f"template.yaml was not deployed: {reason(cloudformation) or error}") from error


def is_deployed(cloudformation: "CloudFormationClient") -> bool:
    return any(stack["StackName"] == STACK_NAME for stack in cloudformation.describe_stacks()["Stacks"])


def reason(cloudformation: "CloudFormationClient") -> str:
    """Return why the first resource failed."""
    events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
    failed = [each for each in events if each.get("ResourceStatus", "").endswith("_FAILED")]
    return f"{failed[-1]['LogicalResourceId']}: {failed[-1].get('ResourceStatusReason')}" if failed else ""


def uploaded_template(endpoint: str) -> str:
    """Upload the functions' code, and the template that names it. Return the template's URL."""
    s3: S3Client = aws.client("s3", endpoint)
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": aws.REGION})  # type: ignore[typeddict-item]
    code = zipped(ROOT / "src")
    code_key = f"{hashlib.sha256(code).hexdigest()}.zip"  # another name if the code changed, so it is released
    s3.put_object(Bucket=BUCKET, Key=code_key, Body=code)
    template = (ROOT / "template.yaml").read_text().replace("CodeUri: src/", f"CodeUri: s3://{BUCKET}/{code_key}")
    s3.put_object(Bucket=BUCKET, Key="template.yaml", Body=template.encode())
    return f"{endpoint}/{BUCKET}/template.yaml"


def zipped(folder: Path) -> bytes:
    """Return the folder as a ZIP file: equal bytes for equal files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                archive.writestr(zipfile.ZipInfo(str(path.relative_to(folder))), path.read_bytes())
    return file.getvalue()


def free_port() -> int:
    """Return a free port.

    Each process takes its own ports, below those that the system gives to connections. So nothing else gets the port
    before it is used.
    """
    first = FIRST_PORT + os.getpid() % 600 * PORTS_OF_A_PROCESS
    for _ in range(PORTS_OF_A_PROCESS):
        port = first + next(_TAKEN) % PORTS_OF_A_PROCESS
        with contextlib.suppress(StackError):
            check_free(port)
            return port
    raise StackError(f"No port from {first} to {first + PORTS_OF_A_PROCESS - 1} is free")


def check_free(port: int) -> None:
    with socket.socket() as probe:
        # As the emulator does: closing connections of an earlier run do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((aws.HOST, port))
        except (OSError, OverflowError) as error:
            raise StackError(f"Port {port} cannot be used, choose another one with PORT=number: {error}") from error
