# cost.py - what python.h adds to an object of Python: PYTHONPATH=build/release/tests/seeds /usr/bin/python3 tests/seeds/cost.py
# SPDX-License-Identifier: MIT
import threading
import timeit

import seeds

CALLS = 100000


def make():
    """In a frame of its own, as in an application: the label asks for that frame."""
    return seeds.Protocol()


def ns(call):
    """The best of several rounds; what was noted is forgotten after each."""
    rounds = []
    for _ in range(7):
        rounds.append(timeit.timeit(call, number=CALLS) / CALLS * 1e9)
        seeds.take_fates()
    return min(rounds)


def drops(count):
    """On a thread that lets go of `count` objects, one after the other; the main thread made them, and drains."""
    held = [seeds.Protocol() for _ in range(count)]
    told = []

    def drop():
        held.pop()

    thread = threading.Thread(target=lambda: told.append(timeit.timeit(drop, number=count) / count * 1e9))
    thread.start()
    thread.join()
    assert seeds.drain() == count
    seeds.take_fates()
    return told[0]


protocol, box = seeds.Protocol(), []
seeds.set_option("level", "count")
seeds.set_option("stall_ms", "0")
print(f"a method that is nothing else: {ns(box.clear):.0f}; that checks: {ns(protocol.is_mine):.0f}")
print(f"make and drop one at home, its place as its label: {ns(make):.0f}")
print(f"let one go elsewhere, counted: {min(drops(CALLS) for _ in range(7)):.0f}")
seeds.set_option("script_places", "0")
print(f"make and drop one at home, without: {ns(make):.0f}")
