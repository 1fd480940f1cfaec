"""A service that speaks S3, in memory, for tests: moto, with what it lacks for them.

Prints the port that the kernel chose, and ends with its standard input. Requests are answered one
after the other: moto looks whether an object is there and makes it in two steps. `PUT /-mode` with
one of these words changes how it behaves:

- `right`: as S3 does; only ACCESS_KEY_ID is known.
- `fails`: every request is answered 503.
- `hangs`: requests are answered when the mode changes.
- `denies`: every request is answered 403, as after its credentials were taken back.
- `expired`: every request is answered 400, as S3 does after a temporary credential's time.
- `overwrites`: the header If-None-Match is ignored.
"""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

ACCESS_KEY_ID = "test-id"
MODES = ("right", "fails", "hangs", "denies", "expired", "overwrites")


def refusal(code):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Echo>test-token</Echo></Error>".encode()


class Service:
    def __init__(self):
        self.s3 = DomainDispatcherApplication(create_backend_app)
        self.mode = "right"
        self.changed = threading.Condition()
        self.one = threading.Lock()

    def __call__(self, environ, start):
        if environ["PATH_INFO"].startswith("/-mode"):
            return self.control(environ, start)
        with self.changed:
            self.changed.wait_for(lambda: self.mode != "hangs")
            mode = self.mode
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if mode == "fails":
            return answer(start, "503 Service Unavailable", refusal("ServiceUnavailable"))
        if mode == "denies":
            return answer(start, "403 Forbidden", refusal("AccessDenied"))
        if mode == "expired":
            return answer(start, "400 Bad Request", refusal("ExpiredToken"))
        if f"Credential={ACCESS_KEY_ID}/" not in environ.get("HTTP_AUTHORIZATION", ""):
            return answer(start, "403 Forbidden", refusal("InvalidAccessKeyId"))
        if mode == "overwrites":
            environ.pop("HTTP_IF_NONE_MATCH", None)
        environ["wsgi.input"] = Body(body)
        with self.one:
            return [b"".join(self.s3(environ, start))]

    def control(self, environ, start):
        mode = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        if mode not in MODES:
            return answer(start, "400 Bad Request", b"")
        with self.changed:
            self.mode = mode
            self.changed.notify_all()
        return answer(start, "200 OK", b"")


class Body:
    def __init__(self, data):
        self.data = data

    def read(self, size=-1):
        end = len(self.data) if size is None or size < 0 else size
        part, self.data = self.data[:end], self.data[end:]
        return part

    def readline(self, size=-1):
        end = self.data.find(b"\n") + 1
        return self.read(end or size)


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


def answer(start, status, body):
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


server = make_server("127.0.0.1", 0, Service(), threaded=True, request_handler=Handler)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.port, flush=True)
sys.stdin.read()
