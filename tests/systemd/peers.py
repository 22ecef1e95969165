"""Who the daemon talks to in the end-to-end test: a receiver of webhooks, TLS in front of the API, a name server."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Verifies and remembers what webhooks are told, over TLS. While `hold` is set, requests get no answer."""

    def __init__(self, port, tls, secrets):
        self.secrets, self.lock, self.told, self.refused = secrets, threading.Lock(), [], []
        self.headers = {}
        self.go = threading.Event()
        self.go.set()
        self.held = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with receiver.lock:
                    receiver.held += 1
                receiver.go.wait(60)
                status = receiver.take(self.path.strip("/"), self.headers, body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        server.daemon_threads = True
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def take(self, webhook, headers, body):
        sent = int(headers["webhook-timestamp"])
        signed = f"{headers['webhook-id']}.{sent}.".encode() + body
        key = base64.b64decode(self.secrets[webhook].removeprefix("whsec_"))
        wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if wanted not in headers["webhook-signature"].split() or abs(time.time() - sent) > 300:
            with self.lock:
                self.refused.append(webhook)
            return 401
        event = json.loads(body)
        with self.lock:
            self.headers[webhook] = headers
            self.told.append((webhook, headers["webhook-id"], event["data"]["job_id"], event["data"]["sequence"], event["type"]))
        return 204

    def events(self, webhook, job):
        """(sequence, type) of one job as first received, in the order of their arrival."""
        with self.lock:
            seen = {}
            for to, event, of, sequence, kind in self.told:
                if (to, of) == (webhook, job):
                    seen.setdefault(event, (sequence, kind))
            return list(seen.values())


def certificates(folder):
    """Makes an authority that this machine trusts from now on, and TLS for *.e2e.test signed by it."""
    sh = lambda *words: subprocess.run(words, cwd=folder, check=True, capture_output=True)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    sh("openssl", "req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=e2e authority")
    sh("openssl", "req", *ec, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=e2e.test")
    with open(f"{folder}/names", "w") as names:
        names.write("subjectAltName=DNS:*.e2e.test\nextendedKeyUsage=serverAuth\n")
    sh("openssl", "x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
       "-out", "tls.pem", "-days", "2", "-extfile", "names")
    with open(f"{folder}/ca.pem") as authority, open("/etc/ssl/certs/ca-certificates.crt", "a") as trusted:
        trusted.write(authority.read())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{folder}/tls.pem", f"{folder}/tls.key")
    return tls


def tls_in_front_of(port, behind, tls):
    """Takes TLS connections at `port` and hands their bytes to the plain server at port `behind`."""
    listener = socket.create_server(("127.0.0.1", port))

    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, target):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def serve(raw):
        try:
            client = tls.wrap_socket(raw, server_side=True)
            server = socket.create_connection(("127.0.0.1", behind))
        except OSError:
            raw.close()
            return
        threading.Thread(target=pump, args=(client, server), daemon=True).start()
        pump(server, client)

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def name_server(asked):
    """Answers that every name under e2e.test is this machine, and notes the names in `asked`."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))

    def serve():
        while True:
            query, client = server.recvfrom(512)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]].decode())
                at += 1 + query[at]
            name, kind = ".".join(labels), query[at + 1 : at + 3]
            asked.add(name)
            found = name.endswith(".e2e.test") and kind == b"\0\1"
            head = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if found else b""
            server.sendto(head + query[12 : at + 5] + answer, client)

    threading.Thread(target=serve, daemon=True).start()
    with open("/etc/resolv.conf", "w") as resolver:
        resolver.write("nameserver 127.0.0.1\n")
