#!/usr/bin/python3
# install.py - what is installed can be used: the shared library, the static one, and the source as a subproject.
# SPDX-License-Identifier: MIT
import os
import pathlib
import sys
import tempfile

import tap

SOURCE = pathlib.Path(sys.argv[1])
CONSUMER = SOURCE / "tests/build/consumer"
OPTIONS = "-Dtests=disabled -Dbench=disabled -Dexamples=disabled"


def runs(what, program, **environment):
    result = tap.run(program, env=os.environ | environment)
    tap.ok(result.returncode == 0 and result.stdout == "came home\n", f"{what}: runs", result.returncode, result.stdout)


def compile_consumer(compiler, flags, program, pkg_config):
    source = CONSUMER / "consumer.c"
    return tap.run(compiler, "-O2 -Wall -Wextra -Werror", flags, "-o", program, source, tap.must(pkg_config))


def test_installed(directory):
    prefix = directory / "prefix"
    tap.must("meson setup --prefix", prefix, "--libdir=lib", OPTIONS, directory / "build", SOURCE)
    tap.must("meson install -C", directory / "build")

    headers = sorted(header.name for header in (SOURCE / "include/tether").glob("*.h"))
    installed = sorted(header.name for header in (prefix / "include/tether").glob("*.h"))
    tap.ok(headers == installed, "all public headers are installed", f"in the source: {headers}", f"installed: {installed}")

    os.environ["PKG_CONFIG_PATH"] = str(prefix / "lib/pkgconfig")
    flags = tap.must("pkg-config --static --libs tether")
    tap.ok("-Wl,-z,nodelete" in flags, "a module with a static copy is told never to be unloaded", flags)

    program = directory / "consumer"
    for compiler in ("gcc -std=c11", "g++ -std=c++17", "clang -std=c11"):
        result = compile_consumer(compiler, "", program, "pkg-config --cflags --libs tether")
        tap.ok(result.returncode == 0, f"shared, {compiler}: builds", result.stdout)
        needed = tap.must("readelf -d", program)
        tap.ok("[libtether.so.0]" in needed, f"shared, {compiler}: needs libtether.so.0", needed)
        runs(f"shared, {compiler}", program, LD_LIBRARY_PATH=str(prefix / "lib"))

        result = compile_consumer(compiler, "-static -DTETHER_STATIC", program, "pkg-config --static --cflags --libs tether")
        tap.ok(result.returncode == 0, f"static, {compiler}: builds", result.stdout)
        runs(f"static, {compiler}", program)


def test_subproject(directory):
    project = directory / "project"
    (project / "subprojects").mkdir(parents=True)
    for name in ("meson.build", "consumer.c"):
        (project / name).write_bytes((CONSUMER / name).read_bytes())
    (project / "subprojects/tether").symlink_to(SOURCE)
    for library in ("shared", "static"):
        build = directory / f"project-{library}"
        tap.must("meson setup", f"--default-library={library}", "--wrap-mode=forcefallback", build, project)
        result = tap.run("ninja -C", build, "consumer")
        tap.ok(result.returncode == 0, f"subproject, {library}: builds", result.stdout)
        runs(f"subproject, {library}", build / "consumer")


with tempfile.TemporaryDirectory() as name:
    test_installed(pathlib.Path(name))
    test_subproject(pathlib.Path(name))
tap.done()
