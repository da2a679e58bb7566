#!/usr/bin/python3
# dlopen.py - the library works when it is loaded at run time, by Python here, and unloading it is no crash.
# SPDX-License-Identifier: MIT
import _ctypes
import ctypes
import pathlib
import sys
import tempfile
import threading
import time

import tap


class Type(ctypes.Structure):
    """struct tether_type; tests/build/headers/tag.c keeps its initialisers honest."""
    _fields_ = [("magic", ctypes.c_uint64), ("name", ctypes.c_char_p), ("offset", ctypes.c_size_t),
                ("destroy", ctypes.CFUNCTYPE(None, ctypes.c_void_p)), ("destroy_with", ctypes.c_void_p),
                ("context", ctypes.c_void_p), ("heir", ctypes.c_void_p), ("orphan", ctypes.c_int), ("level", ctypes.c_int)]


TYPE_MAGIC = 0x7465746865722d31
HERE, QUEUED = 0, 1
destroyed_on = []


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def destroy(_):
    destroyed_on.append(threading.get_ident())


def make_type():
    """A struct tether_type at an address that is a multiple of 64. Returns it and the memory it lies in."""
    memory = ctypes.create_string_buffer(ctypes.sizeof(Type) + 64)
    address = (ctypes.addressof(memory) + 63) & ~63
    Type.from_address(address).__init__(TYPE_MAGIC, b"Python object", 0, destroy)
    return ctypes.c_void_p(address), memory


def in_thread(function):
    """Call a function on a thread of its own, which ends. Returns that thread and what the function returned."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return thread, results[0]


def is_loaded(name):
    return name in pathlib.Path("/proc/self/maps").read_text()


def drops_come_home(library):
    """Bind here, drop on another thread, drain here; the same from a thread, whose end is a drain."""
    tether = ctypes.CDLL(library)
    kind, memory = make_type()
    tag = ctypes.create_string_buffer(32)
    tether.tether_bind(tag, kind)
    assert in_thread(lambda: tether.tether_drop(tag))[1] == QUEUED
    assert destroyed_on == []
    assert tether.tether_drain(ctypes.c_size_t(0)) == 1
    assert destroyed_on == [threading.get_ident()]

    thread, result = in_thread(lambda: (tether.tether_bind(tag, kind), tether.tether_drop_later(tag)))
    assert result[1] == QUEUED
    deadline = time.monotonic() + 30  # Python's join returns before the thread's key destructors have run
    while len(destroyed_on) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert destroyed_on == [threading.get_ident(), thread.ident]
    del memory


def unloading_is_no_crash(library, symbol, arguments):
    """Use the library on a thread, unload it, and let the thread exit only then."""
    module = ctypes.CDLL(library)
    used, unloaded = threading.Event(), threading.Event()

    def use_then_wait():
        result = module[symbol](*arguments)
        used.set()
        unloaded.wait()
        return result

    results = []
    thread = threading.Thread(target=lambda: results.append(use_then_wait()))
    thread.start()
    used.wait()
    _ctypes.dlclose(module._handle)
    unloaded.set()
    thread.join()
    assert results[0] != 0
    assert is_loaded(pathlib.Path(library).resolve().name)


SCENARIOS = {
    "drops": drops_come_home,
    "unload": lambda library: unloading_is_no_crash(library, "tether_self", []),
    "module": lambda library: unloading_is_no_crash(library, "module_use", []),
}


def main():
    source, shared, static = map(pathlib.Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as name:
        module = pathlib.Path(name) / "module.so"
        tap.must("gcc -shared -fPIC -O2 -o", module, "-I", source / "include", source / "tests/build/module.c", static,
                 "-lck -Wl,-z,nodelete -Wl,--no-undefined")
        for scenario, library, what in (("drops", shared, "drops come home, also at thread exit"),
                                        ("unload", shared, "a thread may exit after the library was unloaded"),
                                        ("module", module, "a thread may exit after a module with a static copy was unloaded")):
            result = tap.run(sys.executable, __file__, scenario, library)
            tap.ok(result.returncode == 0, what, f"status {result.returncode}", result.stdout)
    tap.done()


if __name__ == "__main__":
    if sys.argv[1] in SCENARIOS:
        SCENARIOS[sys.argv[1]](sys.argv[2])
    else:
        main()
