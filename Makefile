# Makefile - the commands a user needs; meson does the work, below build/.
# SPDX-License-Identifier: MIT
export PATH := /usr/bin:/bin:$(PATH)

all: # the library and the examples, as users get them
	@tools/setup demo
	@tools/build build/demo -Dtests=disabled -Dbench=disabled

demo: all # a web server under load: what the library does, and what it says
	@examples/httpd/demo build/demo

test: # every suite in every configuration
	@tools/setup test
	@tests/run

bench: # the check and the drop beside their rivals
	@tools/setup bench
	@tools/build build/bench -Dtests=disabled -Dexamples=disabled
	@bench/run build/bench

format: # lay out all C and C++ as .clang-format says
	@tools/setup test
	@tools/sources | xargs clang-format -i

clean:
	rm -rf build

.PHONY: all demo test bench format clean
