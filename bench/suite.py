# suite.py - what there is to measure: programs, figures and their subjects, what these need, and what we hold ourselves to.
# SPDX-License-Identifier: MIT
from collections import namedtuple

# On Google Benchmark, and how long a subject runs in a round, in seconds.
GOOGLE = ["check", "bind", "home", "use", "ref", "enter", "move", "fd", "fork"]
GOOGLE_S, GOOGLE_QUICK_S = 0.02, 0.002
# The rest print a line of JSON for each measurement, and begin no round after so many seconds: of all, and of a quick run.
DRIVERS = {"drop": (120, 12), "stream": (60, 4), "sparse": (60, 4), "handoff": (20, 3), "scale": (90, 6), "server": (120, 30)}
ROUNDS, ROUNDS_QUICK = 25, 9

# What a subject needs that may be missing.
RUST = "rustc, librust-fragile-dev and librust-send-wrapper-dev"
NEEDS = {
    "fragile": RUST, "fragile-executable": RUST, "send_wrapper": RUST, "send_wrapper-executable": RUST,
    "thread-id": RUST, "thread-id-executable": RUST,
    "ck_stack": "libck-dev", "ck_fifo": "libck-dev, and a machine with a CAS of two words", "ck_ring": "libck-dev",
    "wfcqueue": "liburcu-dev", "wfstack": "liburcu-dev", "moodycamel-token": "libconcurrentqueue-dev",
    "glib": "libglib2.0-dev", "glib-queue": "libglib2.0-dev", "glib-context": "libglib2.0-dev", "libuv": "libuv1-dev",
    "mimalloc-free": "libmimalloc2.0", "qt-deletelater": "qtbase5-dev, and -Dbench_qt=enabled",
    "tether-batch": "tether/batch.h, which this version does not have",
    "tether-linger": "tether_park_for(), which this version does not have",
    "off": "libhttp-parser-dev, wrk and valgrind", "on": "libhttp-parser-dev, wrk and valgrind",
    "on-stacks": "libhttp-parser-dev, wrk and valgrind",
}

# The figures in their order, with what they say and their subjects.
Figure = namedtuple("Figure", "name title subjects")
LINKED = ["mutex-eventfd", "ck_stack", "ck_fifo", "ck_ring", "wfcqueue", "wfstack", "vyukov", "moodycamel-token",
          "glib-queue", "glib-context", "libuv", "qt-deletelater"]
QUEUES = ["floor", "tether-batch", "tether"] + LINKED + ["glibc-free", "mimalloc-free"]
DROPS = ["floor", "tether-batch", "tether", "tether-stranger", "tether-limit"] + LINKED
LOOPS = ["tether-batch", "tether", "tether-linger", "mutex-eventfd", "libuv", "glib-queue", "glib-context"]
SERVERS = ["off", "on", "on-stacks"]
FIGURES = [
    Figure("check", "a check, above the empty loop (floor)",
           ["floor", "tether", "tether-executable", "is_mine", "is_mine-executable", "pthread_equal", "gettid-cached",
            "fragile", "fragile-executable", "send_wrapper", "send_wrapper-executable", "thread-id",
            "thread-id-executable", "mutex", "glib", "gettid"]),
    Figure("check.state", "a check that is not simply of one's own", ["own", "shared", "child", "grandchild"]),
    Figure("bind", "noting whose an object is", ["floor", "tether", "tether-stacks", "tether-stacks-full"]),
    Figure("report", "a violation", ["tether", "tether-again"]),
    Figure("home", "bind and drop at home", ["floor", "tether"]),
    Figure("use", "enter and leave an object", ["tether", "tether-bound", "tether-inside", "mutex", "atomic-flag"]),
    Figure("ref.home", "a reference at home, got and put", ["tether", "atomic-count", "shared_ptr"]),
    Figure("ref", "a reference elsewhere", ["tether", "atomic-count", "shared_ptr"]),
    Figure("ref.two", "a reference, by two at once", ["tether", "atomic-count", "shared_ptr"]),
    Figure("enter", "enter an owner and leave it", ["mutex", "tether", "tether-10-of-10000", "tether-all-10000"]),
    Figure("owner.bytes", "memory of each of 10,000 owners", ["tether"]),
    Figure("move", "change of hands, on one thread",
           ["post", "hand-off", "hand-off-group", "hand-off-group-of-256", "give", "unbind-claim", "enter-leave", "lend-return"]),
    Figure("fd.adopt", "a descriptor gets an owner", ["floor", "tether"]),
    Figure("fd.close", "a descriptor is closed, without the kernel", ["floor", "tether", "system-call"]),
    Figure("fd.exchange", "a descriptor changes hands", ["floor", "tether"]),
    Figure("fork", "a fork and its child's end", ["floor", "tether", "tether-1000-owners"]),
    Figure("queue.push", "queue alone: push", QUEUES),
    Figure("queue.drain", "queue alone: drain", QUEUES),
    Figure("queue.sum", "queue alone", QUEUES),
    Figure("drop.push", "whole drop: push", DROPS),
    Figure("drop.drain", "whole drop: drain", DROPS),
    Figure("drop.sum", "whole drop", DROPS),
    Figure("stream", "drops while the owner drains, CPU time", LOOPS),
    Figure("stream.wall", "drops while the owner drains, on the wall", LOOPS),
    Figure("sparse.writes_per_1000", "a drop every 20 us: writes", LOOPS),
    Figure("sparse.cpu", "a drop every 20 us: CPU time", LOOPS),
    Figure("sparse.latency", "a drop every 20 us: until destroyed", LOOPS),
    Figure("sparse.latency_p99", "a drop every 20 us: slowest of 100", LOOPS),
    Figure("handoff", "there and back, both awake", ["floor", "tether", "mutex"]),
    Figure("handoff.asleep", "there and back, both asleep", ["floor", "tether", "mutex-eventfd"]),
    Figure("scale.check", "a check, of so many tags", ["floor", "tether"]),
    Figure("scale.drop", "whole drop, of so many live tags", ["floor", "tether"]),
    Figure("scale.owners", "a drop, for one of so many owners", ["floor", "tether"]),
    Figure("server.instructions", "a request of httpd", SERVERS),
    Figure("server.throughput", "httpd under wrk", SERVERS),
    Figure("server.p50", "httpd under wrk: median latency", SERVERS),
    Figure("server.p99", "httpd under wrk: slowest of 100", SERVERS),
]

# A check that costs less than this counts as this much in ratios: below it the loop is what is measured.
CHECK_FLOOR_NS = 0.5

# `relation` to `limit`: "at most" (in the figure's unit), "at most times" and "at least times" (what `against` takes), and
# "at most above" (`against`). Of the entries with that figure, subject and producers; size None: all.
Target = namedtuple("Target", "figure subject producers relation limit against size", defaults=[None, None])


def both(figure, subject, relation, limits, against):
    """At 1 and at 2 producers."""
    return [Target(figure, subject, producers, relation, limit, against, 4000) for producers, limit in zip((1, 2), limits)]


TARGETS = [
    Target("check", "tether", 0, "at most", 0.5),
    Target("check", "tether-executable", 0, "at most", 0.5),
    *[Target("check", subject + kind, 0, "at least times", limit, "tether")
      for subject, limit in (("fragile", 5), ("send_wrapper", 25), ("thread-id", 25)) for kind in ("", "-executable")],
    Target("check", "mutex", 0, "at least times", 25, "tether"),
    Target("check", "glib", 0, "at least times", 25, "tether"),
    Target("check", "gettid", 0, "at least times", 25, "tether"),
    Target("check.state", "shared", 0, "at most above", 3, "own"),
    Target("check.state", "child", 0, "at most above", 4, "own"),
    Target("bind", "tether", 0, "at most above", 2, "floor"),
    Target("bind", "tether-stacks", 0, "at most", 200),
    Target("report", "tether", 0, "at most", 50_000),
    Target("report", "tether-again", 0, "at most", 1000),
    Target("use", "mutex", 0, "at least times", 1, "tether"),
    Target("ref.home", "atomic-count", 0, "at least times", 4, "tether"),
    Target("ref", "tether", 0, "at most times", 1.3, "atomic-count"),
    Target("enter", "tether-10-of-10000", 0, "at most above", 2, "tether"),
    Target("owner.bytes", "tether", 0, "at most", 1024),
    Target("move", "hand-off-group-of-256", 0, "at most above", 5, "hand-off-group"),
    *both("queue.sum", "tether-batch", "at most times", (1.5, 1.5), "floor"),
    *both("queue.sum", "mutex-eventfd", "at least times", (3, 10), "tether-batch"),
    *both("queue.sum", "ck_stack", "at least times", (2.3, 5), "tether-batch"),
    *both("queue.sum", "vyukov", "at least times", (2.3, 5), "tether-batch"),
    *both("queue.sum", "wfcqueue", "at least times", (2.3, 5), "tether-batch"),
    *both("queue.sum", "moodycamel-token", "at least times", (1.4, 1.4), "tether-batch"),
    *both("queue.sum", "mimalloc-free", "at least times", (2, 2), "tether-batch"),
    *both("queue.sum", "glibc-free", "at least times", (3.5, 3.5), "tether-batch"),
    Target("queue.sum", "tether-batch", 1, "at most", 20, size=32000),
    *both("drop.sum", "tether-batch", "at most times", (1.5, 1.5), "floor"),
    *both("drop.sum", "mutex-eventfd", "at least times", (2, 4.5), "tether-batch"),
    *both("drop.sum", "ck_stack", "at least times", (1.4, 2.5), "tether-batch"),
    *both("drop.sum", "mutex-eventfd", "at least times", (1.5, 2), "tether"),
    Target("stream", "libuv", 1, "at least times", 6, "tether-batch"),
    Target("stream", "libuv", 2, "at least times", 6, "tether-batch"),
    Target("sparse.writes_per_1000", "mutex-eventfd", 1, "at least times", 100, "tether-linger"),
    Target("sparse.cpu", "mutex-eventfd", 1, "at least times", 2, "tether-linger"),
    Target("sparse.latency", "tether-linger", 1, "at most", 150),
    Target("scale.check", "tether", 0, "at most above", 0.5, "floor"),
    Target("server.instructions", "on", 0, "at most times", 1.04, "off"),
    Target("server.instructions", "on-stacks", 0, "at most times", 1.12, "off"),
]
