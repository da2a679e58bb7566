# handover_app.py - gunicorn's configuration and application: each worker adopts the socket it was given, and says what that is.
# SPDX-License-Identifier: MIT
import json
import os
import socket

import seeds

bind = ["127.0.0.1:0"]
workers = 2
graceful_timeout = 5
loglevel = "warning"


def ask_python(fd):
    """What CPython does with a descriptor and no protocol: 0 or errno."""
    try:
        socket.socket(fileno=os.dup(fd)).close()
        return 0
    except OSError as error:
        return error.errno


def post_fork(server, worker):
    """In the worker, before it makes anything of its sockets."""
    listening, = worker.sockets
    fd = listening.fileno()
    told = {"pid": os.getpid(), "master": os.getppid(), "port": listening.getsockname()[1],
            "adopted": seeds.adopt(fd), "python": ask_python(fd)}
    os.write(int(os.environ["TELL"]), json.dumps(told).encode() + b"\n")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
