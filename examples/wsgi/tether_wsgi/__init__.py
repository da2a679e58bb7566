# tether_wsgi - the Python half of the server: what WSGI asks of one, for each request.
# SPDX-License-Identifier: MIT
import io
import re
import sys
import traceback
import urllib.parse
import wsgiref.util

from tether_wsgi import _core

NO_BODY = {204, 304}
ORIGIN = re.compile(r"https?://([^/?]*)", re.IGNORECASE)
STATUS = re.compile(r"[2-9]\d\d( [^\0-\x1f\x7f]*)?", re.ASCII)  # what is less than 200 is no answer yet
NAME = re.compile(r"[-!#$%&'*+.^_`|~\w]+", re.ASCII)
VALUE = re.compile(r"[^\0-\x08\x0a-\x1f\x7f]*")


def environ_of(request, port, is_multithread):
    method, target, minor, fields, body, peer = request
    origin = ORIGIN.match(target)
    path, _, query = target[origin.end() if origin else 0:].partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": urllib.parse.unquote_to_bytes((path or "/").encode("latin-1")).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/1.{minor}",
        "REMOTE_ADDR": peer,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": is_multithread,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in fields:
        if "_" in name:
            continue  # after this it could not be told from a name with a hyphen
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        comma = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{comma}{value}" if key in environ else value
    if origin:
        environ["HTTP_HOST"] = origin[1]  # whatever the field says
    if "HTTP_TRANSFER_ENCODING" in environ:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


class Answer:
    """What the application says of its answer. It is collected whole: nothing is sent before the last byte is there."""

    def __init__(self):
        self.status, self.fields, self.chunks = None, [], []

    def start_response(self, status, fields, exc_info=None):
        if self.status and not exc_info:
            raise AssertionError("start_response was called before")
        if exc_info:
            self.chunks.clear()  # it is an error's answer now, and of the other nothing was sent
        self.status, self.fields = status, list(fields)
        return self.chunks.append

    def check(self):
        """What WSGI forbids an application would be the end of an answer, or the beginning of another, to somebody."""
        if not self.status:
            raise AssertionError("start_response was not called")
        if not STATUS.fullmatch(self.status):
            raise AssertionError(f"no status of an answer: {self.status!r}")
        for name, value in self.fields:
            if not NAME.fullmatch(name) or not VALUE.fullmatch(value) or wsgiref.util.is_hop_by_hop(name):
                raise AssertionError(f"no field of an application's: {name!r}: {value!r}")

    def whole(self, method):
        self.check()
        body = b"".join(self.chunks)
        code = int(self.status[:3])
        lengths = [value for name, value in self.fields if name.lower() == "content-length"]
        if code in NO_BODY:
            body = b""
        elif not lengths and (body or method != "HEAD"):
            self.fields.append(("Content-Length", str(len(body))))
        elif len(lengths) > 1 or (method != "HEAD" and lengths != [str(len(body))]):
            raise AssertionError("the body has not the length that its header says")
        fields = [field for field in self.fields if code != 204 or field[0].lower() != "content-length"]
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in fields), ""]
        header = "\r\n".join(lines).encode("latin-1")
        if len(header) > _core.HEADER_MAX:
            raise AssertionError(f"a header of more than {_core.HEADER_MAX} bytes")
        return header, body


def run(app, environ):
    """The application's answer: header and body."""
    answer = Answer()
    result = app(environ, answer.start_response)
    try:
        answer.chunks.extend(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    return answer.whole(environ["REQUEST_METHOD"])


def refusal():
    text = b"the application failed\n"
    return b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % len(text), text


def serve(protocol, app, port, is_multithread):
    """Answer one request. This frame holds the protocol, so what keeps the frame keeps the protocol."""
    try:
        answer = run(app, environ_of(protocol.request(), port, is_multithread))
    except BaseException:  # SystemExit, too: a request does not end the server
        traceback.print_exc()
        answer = refusal()
    protocol.answer(*answer)


def work(app, port, is_multithread):
    """A pool thread's life."""
    while True:
        protocol = _core.next()
        if not protocol:
            return
        serve(protocol, app, port(), is_multithread)
        del protocol
