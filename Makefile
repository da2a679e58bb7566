# Makefile - the commands a user needs; meson does the work, below build/.
# SPDX-License-Identifier: MIT
export PATH := /usr/bin:/bin:$(PATH)

all: # the library and the examples, as users get them
	@tools/setup demo
	@tools/build build/demo -Dtests=disabled -Dbench=disabled

demo: all # a web server under load: what the library does, and what it says
	@examples/httpd/demo build/demo

demo-python: # a Flask application on a WSGI server: what dies on other threads, and that it comes home
	@tools/setup demo-python
	@tools/build build/demo -Dtests=disabled -Dbench=disabled
	@/usr/bin/python3 examples/wsgi/demo.py build/demo/examples/wsgi

load-python: # 30 seconds of wrk and Locust on the WSGI server: memory stays flat, all counts are balanced
	@tools/setup test
	@tools/build build/demo -Dtests=disabled -Dbench=disabled
	@/usr/bin/python3 tests/wsgi/soak.py build/demo/examples/wsgi

test: # every suite in every configuration
	@tools/setup test
	@tests/run

bench: # what it costs, beside what others cost; some minutes
	@tools/setup bench
	@tools/build build/bench -Dtests=disabled
	@bench/run build/bench

bench-quick: # the same in a minute, for a before and an after
	@tools/setup bench
	@tools/build build/bench -Dtests=disabled
	@bench/run --quick build/bench

format: # lay out all C and C++ as .clang-format says
	@tools/setup test
	@tools/sources | xargs clang-format -i

clean:
	rm -rf build

.PHONY: all demo demo-python load-python test bench bench-quick format clean
