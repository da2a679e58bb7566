# plain_app.py - an application without a framework, for what WSGI and the server promise.
# SPDX-License-Identifier: MIT
import ctypes
import os
import subprocess
import sys
import threading
import time
import wsgiref.validate

kept = []
both = threading.Barrier(2)
lock = threading.Lock()
working = most = 0


def answer(start_response, body, status="200 OK", *fields):
    start_response(status, [("Content-Type", "text/plain"), *fields])
    return [body]


def keep():
    """An exception that outlives its request, with all frames; two threads at once, so that it is not always the same."""
    both.wait()
    try:
        raise ValueError("kept")
    except ValueError as error:
        frame = sys._getframe()
        while frame:  # as a debugger's or a tracker's local variables would
            kept.append((error, frame))
            frame = frame.f_back if frame.f_code.co_name != "serve" else None


def crowd():
    """How many are in here at once, at most."""
    global working, most
    with lock:
        working += 1
        most = max(most, working)
    time.sleep(0.02)
    with lock:
        working -= 1


def hog(fifo):
    """Hold the GIL until somebody writes."""
    fd = os.open(fifo, os.O_RDONLY)
    ctypes.PyDLL(None).read(fd, ctypes.create_string_buffer(1), 1)
    os.close(fd)


def protocol():
    frame = sys._getframe()
    while "protocol" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["protocol"]


def use_elsewhere():
    """What a use of the protocol on another thread says."""
    said, found = [], protocol()

    def use():
        try:
            found.request()
        except RuntimeError as error:
            said.append(str(error))

    thread = threading.Thread(target=use, name="stranger")
    thread.start()
    thread.join()
    return said[0]


def change(start_response):
    """An error after the first bytes: its answer is another one."""
    start_response("200 OK", [("X-One", "1"), ("Content-Length", "100")])(b"some of it")
    try:
        yield b"and more"
        raise ValueError
    except ValueError:
        start_response("503 Later", [("Content-Type", "text/plain")], sys.exc_info())
    yield b"later"


BAD = {
    "early": ("100 Continue", []),
    "status": ("200\tOK", []),
    "transfer": ("200 OK", [("Transfer-Encoding", "chunked")]),
    "connection": ("200 OK", [("Connection", "close")]),
    "lengths": ("200 OK", [("Content-Length", "99"), ("Content-Length", "3")]),
    "length": ("200 OK", [("Content-Length", "4")]),
    "name": ("200 OK", [("X One", "1")]),
    "line": ("200 OK", [("X-One", "1\r\nX-Two: 2")]),
    "zero": ("200 OK", [("X-One", "1\0")]),
    "number": ("200 OK", [("X-One", 1)]),
}


def bad(start_response, name):
    start_response(*BAD[name])
    return [b"abc"]


@wsgiref.validate.validator
def checked(environ, start_response):
    return answer(start_response, b"checked")


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/checked":
        return checked(environ, start_response)
    if path == "/echo":
        return answer(start_response, environ["wsgi.input"].read())
    if path == "/environ":
        text = "\n".join(f"{name}={value}" for name, value in environ.items() if isinstance(value, str))
        return answer(start_response, text.encode())
    if path == "/big":
        return answer(start_response, b"x" * int(environ["QUERY_STRING"]))
    if path == "/empty":
        return answer(start_response, b"", "204 No Content", ("Content-Length", "0"))
    if path == "/process":
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            process.terminate()
        return answer(start_response, str(process.returncode).encode())
    if path == "/nothing":
        return answer(start_response, b"")
    if path == "/change":
        return change(start_response)
    if path == "/bad":
        return bad(start_response, environ["QUERY_STRING"])
    if path == "/header":
        return answer(start_response, b"", "200 OK", ("X-Long", "x" * int(environ["QUERY_STRING"])))
    if path == "/exit":
        sys.exit("an application that ends the process")
    if path == "/keep":
        keep()
    if path == "/forget":
        kept.clear()
    if path == "/crowd":
        crowd()
    if path == "/hog":
        hog(environ["QUERY_STRING"])
    if path == "/elsewhere":
        return answer(start_response, use_elsewhere().encode())
    return answer(start_response, f"{path} {most} {threading.active_count()}".encode())
