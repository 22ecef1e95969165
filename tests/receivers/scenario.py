"""Deliveries as their receivers see them: the receivers of the documents, copied out of them, and the official libraries.

Usage: scenario.py PROGRAM NODE_FOLDER. Prints what passed, and ends with 1 if anything failed. Everything on loopback.
"""

import base64
import json
import os
import pathlib
import re
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from standardwebhooks.webhooks import Webhook

PROGRAM, NODE = sys.argv[1:]
PAGE = pathlib.Path(__file__).parents[2] / "docs/events-and-receiving.md"
PATIENCE = 60  # seconds, for everything that is waited for
TYPES = {"job.completed", "job.failed", "job.action_required", "job.delayed", "job.step_changed"}
LONGEST = 15  # lines of a receiver
REFUSED = {"success", "mfa-token"}  # jobs whose events are refused once: two, since failures of three hold a webhook
passed, failed, started = 0, 0, []


def check(what, is_right, detail=""):
    global passed, failed
    passed, failed = passed + bool(is_right), failed + (not is_right)
    print(("ok    " if is_right else "FAILED"), what, "" if is_right else detail, flush=True)


def until(what, is_true):
    end = time.monotonic() + PATIENCE
    while not is_true():
        if time.monotonic() > end:
            raise SystemExit(f"{what} has not come in {PATIENCE} s")
        time.sleep(0.05)


def start(arguments, **more):
    process = subprocess.Popen(arguments, **more)
    started.append(process)
    return process


def block(language):
    """The receiver in this language, as the page has it."""
    for text in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S):
        if "standardwebhooks" in text:
            lines = len(text.splitlines())
            check(f"the receiver in {language} has at most {LONGEST} lines", lines <= LONGEST, f"{lines}")
            return text
    raise SystemExit(f"{PAGE.name} has no receiver in {language}")


class Receiver:
    """Keeps what it is sent; refuses the first attempt at each event of the jobs of REFUSED, and every test."""

    def __init__(self):
        self.requests, lock = [], threading.Lock()

        class Hook(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(hook):
                body = hook.rfile.read(int(hook.headers["content-length"]))
                with lock:
                    seen = any(headers["webhook-id"] == hook.headers["webhook-id"] for headers, _ in self.requests)
                    self.requests.append((dict(hook.headers), body))
                is_test = hook.headers["webhook-id"].startswith("test_")
                refused = is_test or job_of(body) in REFUSED
                hook.send_response(204 if seen or not refused else 500)
                hook.send_header("content-length", "0")
                hook.end_headers()

            def log_message(hook, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def attempts(self):
        by_id = {}
        for headers, body in self.requests:
            by_id.setdefault(headers["webhook-id"], []).append((headers, body))
        return by_id


def job_of(body):
    return json.loads(body)["data"].get("job_id")


def free_port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    return server.server_port


def post(url, body, headers):
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def copied(language, port, secret, folder):
    """Runs a receiver of the page at another port, and answers with the file it prints to."""
    text = block(language)
    name, program, given = {
        "python": ("receiver.py", sys.executable, "9191"),
        "js": (f"{NODE}/receiver.mjs", "node", "9292"),
    }[language]
    path = folder / name
    path.write_text(text.replace(given, str(port)))
    out = folder / f"{language}.out"
    with open(out, "w") as file, open(folder / f"{language}.err", "w") as trouble:
        start([program, str(path)], env={**os.environ, "SECRET": secret}, stdout=file, stderr=trouble)
    return out


def found(file, expression):
    match = re.search(expression, file.read_text()) if file.exists() else None
    return match and match.group(1)


def configuration(folder, api, webhooks):
    text = [
        "[database]", f'url = "sqlite://{folder}/jobs.db"', "[status]", 'listen = ""',
        "[upstream]", f'base_url = "{api}"', 'api_key = "any-key"',
        "[polling]", 'initial_delay = "100ms"', 'max_delay = "300ms"', 'queued_delay = "300ms"', 'deadline = "20s"',
    ]  # fmt: skip
    for name, (url, keys) in webhooks.items():
        files = []
        for index, key in enumerate(keys):
            file = folder / f"{name}.{index}.secret"
            file.write_text(key)
            file.chmod(0o600)
            files.append(str(file))
        text += [
            f"[webhooks.{name}]", f'url = "{url}"', f"secret_files = {json.dumps(files)}", "allow_private = true",
            'events = ["*"]', 'retry = ["200ms", "200ms", "200ms", "1s"]', "max_in_flight = 4",
        ]  # fmt: skip
    path = folder / "jobtrackd.toml"
    path.write_text("\n".join(text) + "\n")
    path.chmod(0o600)
    return path


def secret():
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def verified_by_pypi(keys, attempts):
    for each in attempts.values():
        for headers, body in each:
            for key in keys:
                Webhook(key).verify(body, headers)


def main(folder):
    old, new, other = secret(), secret(), secret()
    ed25519 = Ed25519PrivateKey.generate()
    seed = ed25519.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = ed25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    rotating, signed = Receiver(), Receiver()
    ports = {"python": free_port(), "js": free_port()}
    printed = {
        "python": copied("python", ports["python"], old, folder),
        "js": copied("js", ports["js"], other, folder),
    }
    with open(folder / "simulator", "w") as file:
        start([PROGRAM, "simulate", "--listen", "127.0.0.1:0", "--speed", "20"], stdout=file, stderr=file)
    until("the simulator", lambda: found(folder / "simulator", r"is at (http://[0-9.:]+)"))
    api = found(folder / "simulator", r"is at (http://[0-9.:]+)")
    webhooks = {
        # In the middle of an exchange: the receiver still has the old secret.
        "python": (f"http://127.0.0.1:{ports['python']}/", [new, old]),
        "node": (f"http://127.0.0.1:{ports['js']}/", [other]),
        "rotating": (rotating.url, [new, old]),
        "signed": (signed.url, ["whsk_" + base64.b64encode(seed + public).decode()]),
    }
    config = configuration(folder, api, webhooks)
    command = [PROGRAM, "--config", str(config)]
    subprocess.run([*command, "migrate"], check=True, stdout=subprocess.DEVNULL)
    for name in ["success", "failed", "mfa-token", "mfa-questions", "queued-success", "step-vanishes", "report"]:
        job = json.dumps({"id": name, "scenario": name}).encode()
        assert post(f"{api}/_control/jobs", job, {}) == 201
        subprocess.run([*command, "enqueue", name], check=True, stdout=subprocess.DEVNULL)
    for port in ports.values():
        until("a receiver", lambda: is_open(port))
    with open(folder / "log", "w") as log:
        daemon = start([*command, "run"], stderr=log)
    database = sqlite3.connect(folder / "jobs.db", timeout=5)
    left = "SELECT (SELECT count(*) FROM jobs WHERE finished_at IS NULL) + (SELECT count(*) FROM deliveries WHERE state = 'pending')"
    until("the end of all jobs", lambda: database.execute(left).fetchone()[0] == 0)

    undelivered = database.execute("SELECT webhook, state, last_error FROM deliveries WHERE state <> 'delivered'").fetchall()
    check("every event was delivered to every webhook", not undelivered, undelivered[:3])
    events = database.execute("SELECT type, job_id FROM events").fetchall()
    check("all five types have occurred", {kind for kind, _ in events} == TYPES, {kind for kind, _ in events})
    for language, library in [("python", "PyPI"), ("js", "npm")]:
        # Word by word: threads that print at once may mix their lines.
        words = sorted(printed[language].read_text().split())
        expected = sorted(word for event in events for word in event)
        check(f"the receiver in {language} has verified each of {len(events)} events ({library})",
              words == expected, f"{len(words)} words")  # fmt: skip

    attempts = rotating.attempts()
    again = [each for each in attempts.values() if job_of(each[0][1]) in REFUSED]
    check("each event that was refused once came again", again and all(len(each) == 2 for each in again))
    check("and no other one", all(len(each) == 1 for each in attempts.values() if each not in again))
    verified_by_pypi([new, old], attempts)
    check(f"both secrets of a rotation verify all {len(rotating.requests)} attempts (PyPI)", True)
    check("a retry has the same bytes", all(first[1] == second[1] for first, second in again))
    numbers = {tuple(headers["webhook-attempt"] for headers, _ in each) for each in again}
    check("attempts are numbered", numbers == {("1", "2")}, numbers)
    for headers, body in signed.requests:
        [signature] = headers["webhook-signature"].split(" ")
        version, _, text = signature.partition(",")
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        assert version == "v1a"
        ed25519.public_key().verify(base64.b64decode(text), content)
    check(f"an ed25519 key signs all {len(signed.requests)} attempts (cryptography)", len(signed.requests) >= len(events))

    headers, body = rotating.requests[0]
    sent = {name: headers[name] for name in headers if name.startswith("webhook-")}
    for language, port in ports.items():
        status = post(f"http://127.0.0.1:{port}/", body.replace(b"job", b"jub", 1), sent)
        check(f"the receiver in {language} refuses what was tampered with", status == 401, status)

    tested(command, printed, rotating)
    daemon.terminate()
    check("the daemon ends well", daemon.wait(PATIENCE) == 0, daemon.returncode)
    log = (folder / "log").read_text()
    check("no secret and no panic in the log", not any(word in log for word in [old, new, other, "panicked at"]))


def tested(command, printed, rotating):
    for name, language in [("python", "python"), ("node", "js")]:
        done = subprocess.run([*command, "webhook", "test", name], capture_output=True, text=True)
        check(f"webhook test {name} ends with 0", done.returncode == 0, done.stderr)
    # The receivers print the job, which a test does not have.
    done = subprocess.run([*command, "webhook", "test", "rotating", "--json"], capture_output=True, text=True)
    check("webhook test of one that refuses ends with 1", done.returncode == 1, done.returncode)
    [(headers, body)] = [sent for sent in rotating.requests if sent[0]["webhook-id"].startswith("test_")]
    shown = json.loads(done.stdout)["request"]
    check("webhook test shows the very bytes", shown["body"].encode() == body)
    same = all(headers.get(name.title(), headers.get(name)) == value for name, value in shown["headers"])
    check("and every header", same and len(shown["headers"]) == len(headers), (shown["headers"], headers))
    for kind in TYPES:
        done = subprocess.run([*command, "webhook", "test", "python", "--type", kind], capture_output=True, text=True)
        check(f"a sample of {kind} is verified", done.returncode == 0, done.stderr)


def is_open(port):
    try:
        post(f"http://127.0.0.1:{port}/", b"", {})
        return True
    except OSError:
        return False


with tempfile.TemporaryDirectory() as made:
    try:
        main(pathlib.Path(made))
    except BaseException:
        for file in sorted(pathlib.Path(made).glob("*")):
            if file.name in ["log", "python.err", "js.err", "simulator"]:
                print(f"== {file.name}", file.read_text()[-3000:], sep="\n")
        raise
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
print(f"{passed} passed, {failed} failed")
sys.exit(bool(failed))
