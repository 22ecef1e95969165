"""The simulator as the public clients of the APIs see it.

Usage: scenario.py PROGRAM. Prints what passed, and ends with 1 if anything failed. Everything on loopback.
"""

import json
import re
import subprocess
import sys
import time
import urllib.request

import openai
from azure.core import PipelineClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, map_error
from azure.core.pipeline import policies
from azure.core.polling import LROPoller
from azure.core.polling.base_polling import LocationPolling, LROBasePolling
from azure.core.rest import HttpRequest
from azure.mgmt.core.polling.arm_polling import ARMPolling
from google.api_core import exceptions as google_errors
from google.api_core import operation as google_operation
from google.api_core import retry
from google.api_core.future import polling
from google.api_core.operations_v1 import AbstractOperationsClient, OperationsRestTransport
from google.auth.transport.requests import AuthorizedSession
from google.longrunning import operations_pb2
from google.oauth2.credentials import Credentials
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2, timestamp_pb2
from google.rpc import error_details_pb2

PROGRAM = sys.argv[1]
KEY = "sk-any-key"
SPEED = "5"  # a plain job takes one to three seconds
PATIENCE = 60  # seconds, for everything that is waited for
DISK = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d1"
passed, failed, started = 0, 0, []


def check(what, is_right, detail=""):
    global passed, failed
    passed, failed = passed + bool(is_right), failed + (not is_right)
    print(("ok    " if is_right else "FAILED"), what, "" if is_right else detail, flush=True)


def raised(kind, act):
    """The error of this kind that `act` raises; None if it raises none."""
    try:
        act()
    except kind as error:
        return error
    return None


def simulate(dialect, *more):
    """Starts the simulator on a free port; answers with its address."""
    command = [PROGRAM, "simulate", "--dialect", dialect, "--listen", "127.0.0.1:0", "--speed", SPEED, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    started.append(process)
    first = process.stdout.readline()
    found = re.search(r"is at (http://[0-9.:]+)", first)
    if not found:
        raise SystemExit(f"{dialect}: the simulator says {first!r}")
    return found.group(1)


def control(api, path, body):
    request = urllib.request.Request(f"{api}/_control/{path}", data=json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return json.load(response)


def openai_batch():
    api = simulate("openai-batch", "--api-key", KEY)
    client = openai.OpenAI(base_url=f"{api}/v1", api_key=KEY)
    endpoint = "/v1/chat/completions"

    def batch(rows, **metadata):
        lines = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
        file = client.files.create(file=("requests.jsonl", lines.encode()), purpose="batch")
        return client.batches.create(
            input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata=metadata
        )

    def followed(batch):
        seen, end = [batch.status], time.monotonic() + PATIENCE
        while batch.status not in ("completed", "failed", "expired", "cancelled") and time.monotonic() < end:
            time.sleep(0.02)
            batch = client.batches.retrieve(batch.id)
            if batch.status != seen[-1]:
                seen.append(batch.status)
        return batch, seen

    row = {"custom_id": "a", "method": "POST", "url": endpoint, "body": {"model": "m", "messages": []}}
    batch_a, seen = followed(batch([row, {**row, "custom_id": "b", "body": {}}], customer="c_9"))
    words = ["validating", "in_progress", "finalizing", "completed"]
    in_order = [word for word in words if word in seen]  # a slow machine may miss one
    check("openai: a batch is completed", seen == in_order and seen[0] == words[0] and seen[-1] == words[-1], seen)
    counts = batch_a.request_counts
    check("openai: it counts its requests", (counts.total, counts.completed, counts.failed) == (2, 1, 1), counts)
    check("openai: it keeps its metadata", batch_a.metadata == {"customer": "c_9"}, batch_a.metadata)
    output = [json.loads(line) for line in client.files.content(batch_a.output_file_id).text.splitlines()]
    check("openai: its output is read", [(one["custom_id"], one["response"]["status_code"]) for one in output] == [("a", 200)], output)
    errors = [json.loads(line) for line in client.files.content(batch_a.error_file_id).text.splitlines()]
    check("openai: its errors are read", [(one["custom_id"], one["response"]["status_code"]) for one in errors] == [("b", 400)], errors)

    batch_b, seen = followed(batch([row, "not JSON"]))
    check("openai: a batch with a bad file fails", seen == ["validating", "failed"], seen)
    error = batch_b.errors.data[0]
    check("openai: it names the line", (error.code, error.line) == ("invalid_json_line", 2), error)

    batch_c = batch([row])
    cancelling = client.batches.cancel(batch_c.id)
    batch_c, seen = followed(cancelling)
    check("openai: a batch is cancelled", seen == ["cancelling", "cancelled"], seen)
    check("openai: it says when", batch_c.cancelling_at <= batch_c.cancelled_at, batch_c)
    again = raised(openai.ConflictError, lambda: client.with_options(max_retries=0).batches.cancel(batch_c.id))
    check("openai: a batch that has ended is not cancelled", again)

    listed = [one.id for one in client.batches.list(limit=2)]
    check("openai: all pages of the list are read", listed == [batch_c.id, batch_b.id, batch_a.id], listed)
    missing = raised(openai.NotFoundError, lambda: client.batches.retrieve("batch_none"))
    check("openai: an unknown batch is not found", missing and "batch_none" in missing.message, missing)
    stranger = openai.OpenAI(base_url=f"{api}/v1", api_key="sk-other")
    refused = raised(openai.AuthenticationError, lambda: stranger.batches.retrieve(batch_a.id))
    check("openai: another key is refused", refused and refused.code == "invalid_api_key", refused)
    throttle = {"status": {"status": 429, "retry_after": {"seconds": 1}}}
    control(api, "faults", {"job": batch_a.id, "times": 1, "fault": throttle})
    limited = raised(openai.RateLimitError, lambda: client.with_options(max_retries=0).batches.retrieve(batch_a.id))
    check("openai: throttling is known as such", limited and limited.code == "rate_limit_exceeded", limited)
    control(api, "faults", {"job": batch_a.id, "times": 1, "fault": throttle})
    check("openai: the client tries again after a while", client.batches.retrieve(batch_a.id).status == "completed")


class Azure:
    """What a generated client of an Azure service is made of."""

    def __init__(self, api):
        key = policies.AzureKeyCredentialPolicy(AzureKeyCredential(KEY), "api-key")
        steps = [policies.RequestIdPolicy(), key, policies.RedirectPolicy(), policies.RetryPolicy()]
        self.client = PipelineClient(api, policies=steps)

    def send(self, method, path, **more):
        request = HttpRequest(method, self.client.format_url(path), **more)
        response = self.client.send_request(request, _return_pipeline_response=True)
        http = response.http_response
        if http.status_code >= 400:
            map_error(http.status_code, http, {404: ResourceNotFoundError})
            raise HttpResponseError(response=http)
        return response

    def poller(self, polling, method, path, scenario=None):
        headers = {"x-simulate-scenario": scenario} if scenario else {}
        body = {"location": "westeurope"} if method == "PUT" else {}
        first = self.send(method, path, json=body, headers=headers)
        return LROPoller(self.client, first, lambda response: json.loads(response.http_response.text()), polling)


def azure():
    service = Azure(simulate("azure"))
    poller = service.poller(LROBasePolling(timeout=0.1), "PUT", "/indexes/one")
    result = poller.result(PATIENCE)
    state = result["properties"]["provisioningState"]
    check("azure-core: a resource is created", (poller.status(), state) == ("Succeeded", "Succeeded"), result)
    poller = service.poller(LROBasePolling(timeout=0.1), "POST", "/documents/1:analyze")
    result = poller.result(PATIENCE)
    check("azure-core: an action ends at its Location", result["id"] == "/documents/1:analyze", result)
    poller = service.poller(LROBasePolling(timeout=0.1), "PUT", "/indexes/two", "statement-failed")
    error = raised(HttpResponseError, lambda: poller.result(PATIENCE))
    check("azure-core: a failure has status, code and message",
          error and poller.status() == "Failed" and error.error.code and error.error.message, error)

    poller = service.poller(ARMPolling(timeout=0.1), "PUT", DISK)
    result = poller.result(PATIENCE)
    check("azure-mgmt-core: a resource of the resource manager is created", result["id"] == DISK, result)
    poller = service.poller(ARMPolling(timeout=0.1), "DELETE", DISK)
    poller.result(PATIENCE)
    gone = raised(ResourceNotFoundError, lambda: service.send("GET", DISK))
    check("azure-mgmt-core: it is deleted", gone and gone.error.code == "ResourceNotFound", gone)
    poller = service.poller(ARMPolling(timeout=0.1), "PUT", DISK, "never-ends")
    first = poller.polling_method()._initial_response.http_response
    service.send("POST", first.headers["Azure-AsyncOperation"] + ":cancel")
    error = raised(HttpResponseError, lambda: poller.result(PATIENCE))
    check("azure-mgmt-core: a cancelled operation is an error", error and poller.status() == "Canceled", poller.status())
    missing = raised(ResourceNotFoundError, lambda: service.send("GET", "/operations/none"))
    check("azure-core: an unknown operation is not found", missing and missing.error.code == "OperationNotFound", missing)


def http_status():
    service = Azure(simulate("http-status"))
    pollers = [
        service.poller(LROBasePolling(timeout=0.1, lro_algorithms=[LocationPolling()]), "POST", "/") for _ in range(8)
    ]
    for poller in pollers:
        poller.wait(PATIENCE)
    check("azure-core: statuses alone are followed to the end", all(p.status() == "Succeeded" for p in pollers))


def metadata_type():
    """`simulator.v1.OperationMetadata`, which a generated client would bring with it."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="simulator.proto", package="simulator.v1", syntax="proto3", dependency=[timestamp_pb2.DESCRIPTOR.name]
    )
    message = file.message_type.add(name="OperationMetadata")
    kinds = {
        "create_time": "time", "update_time": "time", "end_time": "time", "target": field.TYPE_STRING,
        "verb": field.TYPE_STRING, "status_message": field.TYPE_STRING, "progress_percent": field.TYPE_INT32,
        "cancel_requested": field.TYPE_BOOL,
    }
    for number, (name, kind) in enumerate(kinds.items(), start=1):
        one = message.field.add(name=name, number=number, label=field.LABEL_OPTIONAL)
        if kind == "time":
            one.type, one.type_name = field.TYPE_MESSAGE, ".google.protobuf.Timestamp"
        else:
            one.type = kind
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("simulator.v1.OperationMetadata"))


def google():
    api, metadata = simulate("google-lro"), metadata_type()
    session = AuthorizedSession(Credentials(KEY))
    transport = OperationsRestTransport(host=api, url_scheme="http", credentials=Credentials(KEY))
    client = AbstractOperationsClient(transport=transport)
    parent = "projects/p/locations/l"

    def operation(scenario=None):
        headers = {"x-simulate-scenario": scenario} if scenario else {}
        response = session.post(f"{api}/v1/{parent}/things", json={}, headers=headers)
        first = json_format.Parse(response.content, operations_pb2.Operation())
        pace = retry.Retry(predicate=polling.POLLING_PREDICATE, initial=0.05, maximum=0.2, timeout=PATIENCE)
        return google_operation.from_gapic(first, client, struct_pb2.Struct, metadata_type=metadata, polling=pace)

    future = operation()
    target = f"{parent}/things"
    check("google: an operation begins", future.metadata.target == target and not future.done(), future.metadata)
    result = future.result()
    check("google: it ends in a response", result["name"] == target, result)
    check("google: its metadata ends", future.metadata.progress_percent == 100 and future.metadata.end_time.seconds, future.metadata)
    future_b = operation("statement-failed")
    error = future_b.exception()
    check("google: a failure is an error of its code", isinstance(error, google_errors.GoogleAPICallError) and error.message, error)
    info = error_details_pb2.ErrorInfo()
    check("google: its details are read", future_b.operation.error.details[0].Unpack(info) and info.reason, info)
    future_c = operation("never-ends")
    check("google: an operation is cancelled", future_c.cancel())
    error = future_c.exception()
    check("google: it ends as cancelled", isinstance(error, google_errors.Cancelled) and future_c.cancelled(), error)

    names = [one.name for one in client.list_operations(parent)]
    check("google: operations are listed", names == [f.operation.name for f in (future_c, future_b, future)], names)
    client.delete_operation(future.operation.name)
    missing = raised(google_errors.NotFound, lambda: client.get_operation(future.operation.name))
    check("google: one that is deleted is not found", missing and "not found" in missing.message, missing)


try:
    for clients in (openai_batch, azure, http_status, google):
        clients()
finally:
    for process in started:
        process.terminate()
        process.wait()
print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
