# workers_app.py - an application for gunicorn's workers that makes protocols, uses them and lets them go.
# SPDX-License-Identifier: MIT
import ctypes
import json
import os
import threading
import time

import seeds

TOGETHER = int(os.environ["TOGETHER"])  # so many requests wait for each other
PATIENCE_S = 60

seeds.catch_reports()
imported_in = os.getpid()
shared = seeds.Protocol()  # by the thread that imports this; before the fork, with --preload
arrived = []


def on_a_native_thread(function):
    """A thread that has ended on return, whatever `threading` is by now."""
    pthread, thread = ctypes.CDLL(None), ctypes.c_ulong()
    start = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: function())
    assert pthread.pthread_create(ctypes.byref(thread), None, start, None) == 0
    pthread.pthread_join(thread, None)


def use(protocol):
    """What it said of why not."""
    try:
        protocol.use()
    except RuntimeError as error:
        return str(error)
    return None


def together():
    """One protocol, during which other requests make theirs: on other threads, or in other greenlets."""
    protocol = seeds.Protocol()
    arrived.append(None)
    end = time.monotonic() + PATIENCE_S
    while len(arrived) < TOGETHER:
        assert time.monotonic() < end, f"{len(arrived)} of {TOGETHER} requests are served at a time"
        time.sleep(.001)
    return {"serial": protocol.serial, "said": use(protocol), "owner": seeds.self(), "native": threading.get_native_id(),
            "ident": threading.get_ident()}


def use_shared():
    return {"said": use(shared)}


def wrong():
    """Used and let go of on another thread; then this one drains."""
    box, there = [seeds.Protocol()], {}
    serial = box[0].serial

    def misuse():
        there["elsewhere"] = seeds.self()
        there["said"] = use(box[0])
        box.clear()
        there["destroyed there"] = seeds.take_fates()

    on_a_native_thread(misuse)
    return there | {"serial": serial, "owner": seeds.self(), "drained": seeds.drain()}


def told():
    return {"pid": os.getpid(), "imported in": imported_in, "reports": [json.loads(report) for report in seeds.take_reports()],
            "fates": seeds.take_fates()}


ROUTES = {"/together": together, "/shared": use_shared, "/wrong": wrong, "/told": told}


def application(environ, start_response):
    body = json.dumps(ROUTES[environ["PATH_INFO"]]()).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
