# __main__.py - the command line: python3 -m tether_wsgi MODULE:APPLICATION [--threads N ...]
# SPDX-License-Identifier: MIT
import argparse
import functools
import gc
import importlib
import signal
import sys
import time

import tether_wsgi
from tether_wsgi import _core


def number(least, most):
    def parse(text):
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not in {least} to {most}")
        return value
    parse.__name__ = "number"  # argparse names it when the text is none
    return parse


def application(text):
    module, _, path = text.partition(":")
    try:
        app = functools.reduce(getattr, (path or "application").split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"cannot import {text}: {error}") from None
    if not callable(app):
        raise argparse.ArgumentTypeError(f"{text} cannot be called")
    return app


def parse():
    parser = argparse.ArgumentParser(prog="tether_wsgi", description="Serve a WSGI application on 127.0.0.1.")
    parser.add_argument("app", type=application, metavar="MODULE:APPLICATION")
    for name, least, most, default, text in (
            ("port", 0, 65535, 8080, "where to listen; 0: any free port"),
            ("io-threads", 1, _core.LOOPS_MAX, 2, "event loops"),
            ("threads", 1, _core.THREADS_MAX, 4, "how many threads may run the application"),
            ("backpressure", 1, 65536, 64, "how many requests are worked on or queued; those above wait unread"),
            ("idle-ms", 1, 3600000, 5000, "how long a thread has nothing to do before it goes"),
            ("max-body", 0, 1 << 30, 1 << 20, "bytes of a request's body"),
            ("requests", 0, 1 << 62, 0, "stop after about so many; 0: no bound"),
            ("seconds", 0, 86400, 0, "stop after so long; 0: no bound")):
        parser.add_argument(f"--{name}", type=number(least, most), default=default, metavar="N", help=f"{text} ({default})")
    parser.add_argument("--not-deferred", action="store_true", help="destroy a payload on whatever thread lets it go")
    parser.add_argument("--reports", action="store_true", help="write a report of each place where one is let go elsewhere")
    options = parser.parse_args()
    if options.backpressure < options.io_threads:
        parser.error("--backpressure must be no less than --io-threads: each loop has a share of it")
    return options


def wait(options, stop):
    """Until a signal has come, or a bound of the options is reached."""
    began = time.monotonic()
    while not stop:
        time.sleep(0.05)
        if options.seconds and time.monotonic() - began >= options.seconds:
            return
        if options.requests and _core.served() >= options.requests:
            return


def end():
    """Stop, and let go of what only a collection finds. Returns the counts."""
    _core.stop()
    while not _core.has_ended():
        time.sleep(0.02)
    gc.collect()
    _core.has_ended()
    return _core.end()


def main():
    options, port, stop = parse(), 0, []  # no Event: its lock is taken by whom the signal interrupts
    for signal_number in signal.SIGTERM, signal.SIGINT:
        signal.signal(signal_number, lambda *_: stop.append(True))
    work = functools.partial(tether_wsgi.work, options.app, lambda: port, options.threads > 1)
    try:
        port = _core.start(work, port=options.port, io_threads=options.io_threads, threads=options.threads,
                           backpressure=options.backpressure, idle_ms=options.idle_ms, max_body=options.max_body,
                           deferred=not options.not_deferred, reports=options.reports)
    except OSError as error:
        sys.exit(f"tether_wsgi: cannot start: {error}")
    print(f"tether_wsgi: listening on 127.0.0.1:{port}", flush=True)
    wait(options, stop)
    counts = end()
    for times, made, dropped in sorted(counts.pop("places"), reverse=True):
        print(f"tether_wsgi: {times} made at {made}, let go on another thread at {dropped}")
    print("tether_wsgi:", *(f"{name}={value}" for name, value in counts.items()), flush=True)
    sys.exit(counts["lost"] != 0)


if __name__ == "__main__":
    main()
