#!/usr/bin/python3
"""jobtrackd as a package under a real systemd: installed, used by others, killed, stalled, reloaded, upgraded, purged.

Runs inside tests/systemd/boot, with the packages previous.deb and next.deb beside it. Knows nothing of the program but
what an operator knows. Every wait has an end; the first thing that is not as it should be ends it with 1.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import peers

START = time.monotonic()
MFA = "1234"
API_KEY, OTHER_KEY = "canary-" + secrets.token_hex(12), "canary-" + secrets.token_hex(12)
SECRETS = {name: "whsec_" + __import__("base64").b64encode(secrets.token_bytes(32)).decode() for name in ("billing", "crm")}
ROTATED = "whsec_" + __import__("base64").b64encode(secrets.token_bytes(32)).decode()
DATABASE, CONFIG = "/var/lib/jobtrackd/jobs.db", "/etc/jobtrackd/jobtrackd.toml"
UNIT = "jobtrackd.service"
FROZEN = "/var/lib/jobtrackd-frozen"
NUMBERS = iter(range(1, 100_000))


def say(text):
    print(f"{time.monotonic() - START:6.1f} s  {text}", flush=True)


def fail(text):
    # A file system that hangs would keep everything from ending.
    subprocess.run(["fsfreeze", "-u", FROZEN], capture_output=True)
    print(f"FAILED: {text}\n--- the journal of jobtrackd:", flush=True)
    subprocess.run("journalctl --no-pager -o short-precise -n 150 -t jobtrackd -t systemd", shell=True, stdout=sys.stdout)
    subprocess.run("systemctl status --no-pager -l 'jobtrackd*'", shell=True, stdout=sys.stdout)
    sys.stdout.flush()
    os._exit(1)


def run(*command, check=True, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, **more)
    if check and done.returncode != 0:
        fail(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done


def out(*command):
    return run(*command).stdout.strip()


def until(what, holds, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.03)
    fail(f"after {seconds} s still not: {what}")


def same(found, wanted, what):
    if found != wanted:
        fail(f"{what}: {found!r}, not {wanted!r}")


def show(name, unit=UNIT):
    return out("systemctl", "show", "-P", name, unit)


def active(unit=UNIT):
    return show("ActiveState", unit) == "active"


def status_line(unit=UNIT):
    return show("StatusText", unit)


def http(url, body=None):
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")
    except OSError:
        return 0, None


def post(path, body):
    request = urllib.request.Request(f"http://127.0.0.1:8787{path}", json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ready(port=8787):
    return http(f"http://127.0.0.1:{port}/readyz")


def journal(*matches):
    lines = out("journalctl", "--no-pager", "-o", "json", *matches).splitlines()
    return [json.loads(line) for line in lines]


def sql(statement, user="root", database=DATABASE, check=True):
    words = ["runuser", "-u", user, "--", "sqlite3", database, ".timeout 5000", statement]
    return run(*words, check=check)


def write(path, text, mode=0o640):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


def mode(path):
    about = os.stat(path)
    return oct(about.st_mode & 0o7777), out("stat", "-c", "%U:%G", path)


def api(key):
    run("systemctl", "stop", "api.service", check=False)
    run("systemd-run", "--unit=api", "--collect", "jobtrackd", "simulate", "--listen", "127.0.0.1:9090", "--speed", "10", "--api-key", key)
    until("the simulated API answers", lambda: http("http://127.0.0.1:9090/_control/scenarios")[0] == 200)


def enqueue(scenario="success", user="alice", database=DATABASE):
    """Makes a job at the API and inserts its row as a member of the group; answers with its id."""
    job = f"job-{next(NUMBERS)}"
    status, said = http("http://127.0.0.1:9090/_control/jobs", {"id": job, "scenario": scenario})
    same(status // 100, 2, f"the API takes the job ({said})")
    sql(f"INSERT INTO jobs (id) VALUES ('{job}')", user, database)
    return job


def ended(receiver, webhook, job):
    return any(kind in ("job.completed", "job.failed") for _, kind in receiver.events(webhook, job))


def told(receiver, job, webhook="billing", seconds=20):
    until(f"{webhook} is told the end of {job}", lambda: ended(receiver, webhook, job), seconds)


def configuration(status="127.0.0.1:8787", database=DATABASE, more=""):
    return f"""
[database]
url = "sqlite://{database}"
[upstream]
base_url = "https://api.e2e.test:9444"
[polling]
initial_delay = "50ms"
max_delay = "300ms"
error_max_delay = "1s"
[status]
listen = "{status}"
[webhooks.billing]
url = "https://hooks.e2e.test:9443/billing"
allow_private = true
retry = ["100ms", "200ms", "1s", "1s", "1s", "2s", "5s", "5s", "5s", "5s"]
{more}"""


def installs():
    run("dpkg", "-i", "previous.deb")
    same(show("UnitFileState"), "enabled", "the service is enabled")
    same(show("ActiveState"), "inactive", "it is not started before it has a key")
    same(mode("/var/lib/jobtrackd"), ("0o2770", "jobtrackd:jobtrackd-queue"), "the folder of the database")
    same(mode("/etc/jobtrackd"), ("0o2750", "root:jobtrackd-queue"), "the folder of the configuration")
    same(mode("/etc/jobtrackd/webhooks"), ("0o700", "root:root"), "the folder of the secrets")
    run("systemctl", "start", UNIT, check=False)
    until("a start without a key fails", lambda: show("ActiveState") == "failed", 10)
    same(show("ExecMainStatus"), "78", "for its configuration")
    if not any("the API key is missing" in line["MESSAGE"] for line in journal("-u", UNIT) if isinstance(line["MESSAGE"], str)):
        fail("the journal does not say that the API key is missing")
    for name in ("alice", "bob"):
        run("useradd", "--no-create-home", name)
    run("usermod", "-aG", "jobtrackd-queue", "alice")
    say("installed, enabled, and not started without a key")


def starts(receiver):
    write("/etc/jobtrackd/api_key", API_KEY + "\n", 0o600)
    write("/etc/jobtrackd/webhooks/billing", SECRETS["billing"] + "\n", 0o600)
    write(CONFIG, configuration())
    run("jobtrackd", "migrate", user="jobtrackd", group="jobtrackd-queue")
    same(mode(DATABASE), ("0o660", "jobtrackd:jobtrackd-queue"), "the database that migrate made")
    job = enqueue()
    if sql("INSERT INTO jobs (id) VALUES ('bobs')", "bob", check=False).returncode == 0:
        fail("somebody outside the group could insert")
    run("systemctl", "start", UNIT)
    same(active(), True, "active as soon as systemctl returns")
    told(receiver, job)
    same(ready()[0], 200, "ready")
    until("the status line tells what it does", lambda: status_line().startswith("Following "), 10)
    finding = [json.loads(line) for line in run("jobtrackd", "doctor", "--json", check=False).stdout.splitlines()]
    same([found for found in finding if found["level"] == "problem"], [], "what the doctor finds on a sound host")
    say(f"started; a member of the group inserted, its webhook was told, over TLS and by name: {status_line()}")


def answers(receiver):
    """The status server in the sandbox: metrics, a job over HTTP, a stream to its end, no answer to another origin."""
    with urllib.request.urlopen("http://127.0.0.1:8787/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    figures = dict(line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    same(float(figures["jobtrackd_resident_memory_bytes"]) > 1_000_000, True, "the memory that the metrics tell")
    same(figures["jobtrackd_ready"], "1", "readiness in the metrics")
    job = f"job-{next(NUMBERS)}"
    same(http("http://127.0.0.1:9090/_control/jobs", {"id": job, "scenario": "mfa-token"})[0] // 100, 2, "the API takes the job")
    same(post("/jobs", {"id": job})[0], 202, "a job handed over by HTTP")
    asked = lambda: any(kind == "job.action_required" for _, kind in receiver.events("billing", job))
    until("the webhook is told of the challenge", asked)
    # The simulator does not know of the TLS in front of it: its links name its own address, which is not base_url's.
    status, said = post(f"/jobs/{job}/mfa", {"mfa-response": [MFA]})
    same((status, "nothing was sent" in said), (502, True), "an answer whose address has another origin")
    run("jobtrackd", "cancel", job)
    told(receiver, job)
    with urllib.request.urlopen(f"http://127.0.0.1:8787/jobs/{job}/stream", timeout=10) as stream:
        same("event: job.failed" in stream.read().decode(), True, "the stream of the job to its end")
    say("metrics, a job over HTTP, its stream to the end, and no MFA answer to another origin")


def logs(receiver):
    job = enqueue("failed")
    told(receiver, job)
    lines = until("the journal knows the job", lambda: journal("-u", UNIT, f"JOB_ID={job}"), 10)
    same({line["PRIORITY"] for line in lines}, {"6"}, "the priority of what goes well")
    same({line["SYSLOG_IDENTIFIER"] for line in lines}, {"jobtrackd"}, "the identifier")
    receiver.secrets["billing"], right = SECRETS["crm"], receiver.secrets["billing"]
    job = enqueue()
    lines = until("a webhook that refuses is in the journal", lambda: journal("-u", UNIT, "WEBHOOK=billing", "PRIORITY=4"), 10)
    if not lines[0].get("ERROR"):
        fail(f"its line has no ERROR: {lines[0]}")
    receiver.secrets["billing"] = right
    told(receiver, job)
    say(f"the journal has fields and priorities; one warning of a failing webhook: {lines[0]['MESSAGE']}")


def survives_kills(receiver):
    before, jobs, began = int(show("NRestarts")), [], time.monotonic()
    for turn in range(20):
        jobs += [enqueue(), enqueue("failed")]
        # Somewhere within the two jobs' lives, another place each time.
        time.sleep(turn * 0.015)
        process = show("MainPID")
        run("systemctl", "kill", "-s", "KILL", UNIT)
        until("it is back", lambda: active() and show("MainPID") not in ("0", process), 10)
    same(int(show("NRestarts")) - before, 20, "restarts")
    for job in jobs:
        told(receiver, job)
    until("nothing is pending", lambda: sql("SELECT count(*) FROM deliveries WHERE state = 'pending'").stdout.strip() == "0")
    for job in jobs:
        events = receiver.events("billing", job)
        same(events, sorted(events), f"the order of {job}'s events")
        kept = sql(f"SELECT sequence, type FROM events WHERE job_id = '{job}' AND type <> 'job.step_changed' ORDER BY sequence")
        same(events, [(int(line.split("|")[0]), line.split("|")[1]) for line in kept.stdout.split()], f"{job}: told and recorded")
        same([kind.startswith(("job.comp", "job.fail")) for _, kind in events].count(True), 1, f"ends of {job}")
    same(sql("PRAGMA integrity_check").stdout.strip(), "ok", "the database")
    say(f"20 kills in {time.monotonic() - began:.0f} s: 40 jobs, each with one end, told in order, nothing lost")


def watchdog(receiver):
    os.makedirs(f"/run/systemd/system/{UNIT}.d")
    same(show("WatchdogUSec"), "30s", "the watchdog of the unit as shipped")
    write(f"/run/systemd/system/{UNIT}.d/e2e.conf", "[Service]\nWatchdogSec=1\n", 0o644)
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    time.sleep(3)
    before, process = int(show("NRestarts")), show("MainPID")
    same(before, 0, "restarts of a daemon that is fed")
    run("systemctl", "kill", "-s", "STOP", UNIT)
    until("the watchdog started it anew", lambda: int(show("NRestarts")) == 1 and active() and show("MainPID") != process, 30)
    if not any("Watchdog timeout" in str(line["MESSAGE"]) for line in journal("-u", UNIT)):
        fail("it was not the watchdog")
    told(receiver, enqueue())
    os.remove(f"/run/systemd/system/{UNIT}.d/e2e.conf")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", UNIT)
    say("stopped by SIGSTOP, started anew by the watchdog")


def stall_begins():
    """A second instance whose file system hangs: only its writer is stuck, everything else goes on."""
    name, unit, folder = "frozen", "jobtrackd@frozen.service", FROZEN
    os.makedirs(folder)
    run("truncate", "-s", "16M", "/opt/frozen.img")
    run("mkfs.ext4", "-q", "/opt/frozen.img")
    run("mount", "-o", "loop", "/opt/frozen.img", folder)
    run("rmdir", f"{folder}/lost+found")
    more = "[webhooks.crm]\nallow_private = true\n"
    write(f"/etc/jobtrackd/{name}.toml", configuration("127.0.0.1:8788", f"{folder}/jobs.db", more))
    write(f"/etc/jobtrackd/{name}.api_key", API_KEY, 0o600)
    os.makedirs(f"/etc/jobtrackd/{name}.webhooks", 0o700)
    for webhook in SECRETS:
        write(f"/etc/jobtrackd/{name}.webhooks/{webhook}", SECRETS[webhook], 0o600)
    # The folder of credentials may also give the URL and headers.
    write(f"/etc/jobtrackd/{name}.webhooks/crm.url", "https://hooks.e2e.test:9443/crm\n", 0o600)
    write(f"/etc/jobtrackd/{name}.webhooks/crm.headers", "x-from: a credential\n", 0o600)
    os.makedirs(f"/run/systemd/system/{unit}.d")
    write(f"/run/systemd/system/{unit}.d/e2e.conf", "[Service]\nWatchdogSec=2\n", 0o644)
    run("systemctl", "daemon-reload")
    run("systemctl", "start", unit)
    busy = enqueue("never-ends", "root", f"{folder}/jobs.db")
    polled = f"SELECT polls FROM jobs WHERE id = '{busy}'"
    until("it writes down polls", lambda: int(sql(polled, database=f"{folder}/jobs.db").stdout) > 1)
    run("fsfreeze", "-f", folder)
    status, _ = http("http://127.0.0.1:9090/_control/jobs", {"id": "frozen", "scenario": "success"})
    same(status // 100, 2, "the API takes the job")
    # The insert hangs as well, until the file system goes on.
    words = ["sqlite3", f"{folder}/jobs.db", ".timeout 60000", "INSERT INTO jobs (id) VALUES ('frozen')"]
    return subprocess.Popen(words), time.monotonic()


def stall_ends(receiver, inserting):
    inserting, since = inserting
    unit, folder = "jobtrackd@frozen.service", FROZEN
    shown = lambda: any("Watchdog timeout" in str(line["MESSAGE"]) for line in journal("-u", unit))
    until("the watchdog fires for the stuck writer", shown, 60)
    hung = time.monotonic() - since
    run("fsfreeze", "-u", folder)
    same(inserting.wait(30), 0, "the insert that hung")
    until("it is back", lambda: int(show("NRestarts", unit)) == 1 and active(unit), 40)
    told(receiver, "frozen", "crm")
    same(receiver.headers["crm"]["x-from"], "a credential", "a header that a credential gives")
    run("systemctl", "stop", unit)
    run("umount", folder)
    say(f"an instance whose disk hung was not fed any more, and started anew ({hung:.0f} s after the disk stopped)")


def reloads(receiver):
    write("/etc/jobtrackd/crm.secret", SECRETS["crm"])
    run("chown", "jobtrackd", "/etc/jobtrackd/crm.secret")
    crm = '[webhooks.crm]\nurl = "https://hooks.e2e.test:9443/crm"\nallow_private = true\nsecret_file = "/etc/jobtrackd/crm.secret"\n'
    process = show("MainPID")
    write(CONFIG, configuration(more=crm))
    run("systemctl", "reload", UNIT)
    job = None
    until("the new webhook is known", lambda: journal("-u", UNIT, f"_PID={process}", "MESSAGE=the configuration was read again"), 15)
    job = enqueue()
    told(receiver, job, "crm")
    receiver.secrets["crm"] = ROTATED
    write("/etc/jobtrackd/crm.secret", ROTATED)
    run("systemctl", "reload", UNIT)
    told(receiver, enqueue(), "crm")
    write(CONFIG, configuration(more=crm).replace("initial_delay", "intial_delay"))
    run("systemctl", "reload", UNIT)
    until("the status line names the key", lambda: "refused" in status_line() and "intial_delay" in status_line(), 15)
    told(receiver, enqueue(), "crm")
    line = status_line()
    write(CONFIG, configuration(more=crm))
    run("systemctl", "reload", UNIT)
    until("the status line forgets it", lambda: status_line().startswith("Following "), 15)
    same((show("MainPID"), active()), (process, True), "the same process all the time")
    say(f"reloaded: a webhook more, a secret rotated, a bad file refused: {line}")


def rotates_the_key(receiver):
    api(OTHER_KEY)
    job = enqueue()
    until("the refused key shows", lambda: ready()[0] == 503 and "Not ready: the upstream refuses our credentials" in status_line(), 30)
    same(active(), True, "it goes on")
    write("/etc/jobtrackd/api_key", OTHER_KEY + "\n", 0o600)
    run("systemctl", "restart", UNIT)
    told(receiver, job)
    same(ready()[0], 200, "ready again")
    say("the API's key was exchanged: refused, shown, a new credential, and the job that waited was told")


def waits_for_a_writer(receiver):
    """docs/development.md, fact 5: a writer that is stopped in a transaction, or was killed in one, keeps nothing from starting."""
    run("systemctl", "stop", UNIT)
    words = ["runuser", "-u", "alice", "--", "python3", "-c",
             f"import sqlite3, time; c = sqlite3.connect('{DATABASE}', isolation_level=None); c.execute('BEGIN IMMEDIATE');"
             "c.execute(\"INSERT INTO jobs (id) VALUES ('never')\"); print('in', flush=True); time.sleep(100)"]
    writer = subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True)
    writer.stdout.readline()
    run("systemctl", "start", UNIT)
    job = f"job-{next(NUMBERS)}"
    os.killpg(writer.pid, signal.SIGKILL)
    writer.wait()
    told(receiver, enqueue())
    same(sql("SELECT count(*) FROM jobs WHERE id = 'never'").stdout.strip(), "0", "what was never committed")
    say("a stranger's transaction was waited for, and its death left nothing behind")


def stops(receiver):
    receiver.go.clear()
    held = receiver.held
    job = enqueue()
    until("a webhook does not answer", lambda: receiver.held > held)
    began = time.monotonic()
    run("systemctl", "stop", UNIT)
    took = time.monotonic() - began
    same((show("Result"), show("ExecMainStatus")), ("success", "0"), "how it stopped")
    if took > 15:
        fail(f"it took {took:.1f} s to stop")
    receiver.go.set()
    run("systemctl", "start", UNIT)
    told(receiver, job)
    say(f"stopped in {took:.1f} s beside a webhook that hung; its event came after the start")


def backs_up(receiver):
    job = enqueue()
    told(receiver, job)
    run("jobtrackd", "backup", "/var/backups/jobs.db")
    same(mode("/var/backups/jobs.db"), ("0o600", "root:root"), "the backup")
    refused = run("jobtrackd", "restore", "/var/backups/jobs.db", check=False)
    same(refused.returncode, 1, "a restore beside the daemon")
    run("systemctl", "stop", UNIT)
    sql("DELETE FROM deliveries; DELETE FROM events; DELETE FROM steps", check=False)
    os.remove(DATABASE)
    run("jobtrackd", "restore", "/var/backups/jobs.db")
    same(mode(DATABASE), ("0o660", "jobtrackd:jobtrackd-queue"), "the restored database")
    run("systemctl", "start", UNIT)
    same(sql(f"SELECT state FROM jobs WHERE id = '{job}'").stdout.strip(), "success", "what was backed up")
    told(receiver, enqueue())
    say("backed up while it ran, lost, restored")


def upgrades(receiver):
    count = sql("SELECT count(*) FROM jobs").stdout
    process, version = show("MainPID"), out("dpkg-query", "-W", "-f", "${Version}", "jobtrackd")
    run("dpkg", "-i", "next.deb")
    until("the new one runs", lambda: active() and show("MainPID") not in ("0", process), 20)
    same(sql("SELECT count(*) FROM jobs").stdout, count, "the jobs after the upgrade")
    same(open(CONFIG).read().count("[webhooks.crm]"), 1, "the configuration stays ours")
    told(receiver, enqueue())
    say(f"upgraded from {version} to {out('dpkg-query', '-W', '-f', '${Version}', 'jobtrackd')} with its data")


def keeps_secrets():
    canaries = [API_KEY, OTHER_KEY, SECRETS["billing"].removeprefix("whsec_"), ROTATED.removeprefix("whsec_")]

    def lines(*matches):
        text = out("journalctl", "--no-pager", "-o", "export", *matches)
        return sum(any(canary in line for canary in canaries) for line in text.splitlines())

    same(lines("-u", "jobtrackd*"), 0, "lines of the journal with a secret")
    if lines("-u", "api.service") == 0:
        fail("the search is blind: the simulated API was started with the key on its command line")
    for path in (DATABASE, DATABASE + "-wal", "/var/backups/jobs.db"):
        if os.path.exists(path):
            data = open(path, "rb").read()
            same(any(canary.encode() in data for canary in canaries), False, f"a secret in {path}")
    say("no secret in the journal, the database or the backup")


def goes():
    run("dpkg", "-r", "jobtrackd")
    same(show("ActiveState"), "inactive", "removed and stopped")
    same((os.path.exists(DATABASE), os.path.exists(CONFIG)), (True, True), "data and configuration stay")
    run("dpkg", "-P", "jobtrackd")
    same([path for path in ("/etc/jobtrackd", "/var/lib/jobtrackd", "/usr/bin/jobtrackd") if os.path.exists(path)], [], "purged")
    same(show("LoadState"), "not-found", "the unit")
    say("removed with its data kept, then purged")


def main():
    os.makedirs("/opt/tls", exist_ok=True)
    asked = set()
    peers.name_server(asked)
    tls = peers.certificates("/opt/tls")
    receiver = peers.Receiver(9443, tls, dict(SECRETS))
    peers.tls_in_front_of(9444, 9090, tls)
    installs()
    api(API_KEY)
    starts(receiver)
    same({"api.e2e.test", "hooks.e2e.test"} <= asked, True, "names were looked up")
    frozen = stall_begins()
    answers(receiver)
    logs(receiver)
    survives_kills(receiver)
    watchdog(receiver)
    stall_ends(receiver, frozen)
    reloads(receiver)
    rotates_the_key(receiver)
    waits_for_a_writer(receiver)
    stops(receiver)
    backs_up(receiver)
    upgrades(receiver)
    keeps_secrets()
    goes()
    say("all is well")


try:
    main()
except Exception:  # of any kind: a file system may hang, and has to be let go
    fail(traceback.format_exc())
