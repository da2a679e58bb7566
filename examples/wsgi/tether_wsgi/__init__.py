# tether_wsgi - the Python half of the server: what WSGI asks of one, for each request.
# SPDX-License-Identifier: MIT
import io
import sys
import traceback
import urllib.parse

from tether_wsgi import _core

NO_BODY = {204, 304}


def environ_of(request, port, is_multithread):
    method, target, minor, fields, body, peer = request
    if target.startswith(("http://", "https://")):
        target = urllib.parse.urlsplit(target)._replace(scheme="", netloc="").geturl() or "/"
    path, _, query = target.partition("?")
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": urllib.parse.unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
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
        environ[key] = f"{environ[key]},{value}" if key in environ else value
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
        self.status, self.fields = status, list(fields)
        return self.chunks.append

    def whole(self, method):
        if not self.status:
            raise AssertionError("start_response was not called")
        body = b"".join(self.chunks)
        code = int(self.status[:3])
        names = {name.lower(): value for name, value in self.fields}
        if code in NO_BODY:
            body = b""
        elif "content-length" not in names:
            self.fields.append(("Content-Length", str(len(body))))
        elif method != "HEAD" and names["content-length"] != str(len(body)):
            raise AssertionError("the body has not the length that its header says")
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in self.fields), ""]
        if any("\r" in line or "\n" in line for line in lines):
            raise AssertionError("the end of a line inside one of the header")
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
