#!/bin/sh
# tsan_user.sh - users run ThreadSanitizer over their own code, with a library that was built without it:
# no false report; and one, were its __tsan_acquire and __tsan_release left out. tsan_user.sh SOURCE_ROOT
# SPDX-License-Identifier: MIT
set -eu

root=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# build NAME [FLAG...]: the program, on a library compiled with these flags
build()
{
	name=$1
	shift
	mkdir "$scratch/$name"
	for source in "$root"/lib/*.c; do
		[ "$(basename "$source")" = set_ck.c ] && continue
		clang -O2 -g -fPIC -fexceptions -std=gnu11 -D_GNU_SOURCE -I"$root/include" "$@" -c "$source" \
			-o "$scratch/$name/$(basename "$source" .c).o"
	done
	clang -O1 -g -std=gnu11 -fsanitize=thread -I"$root/include" "$root/tests/faults/tsan_user.c" "$scratch/$name"/*.o \
		-lpthread -o "$scratch/$name/program"
}

run()
{
	TSAN_OPTIONS=exitcode=66 "$scratch/$1/program" >"$scratch/$1/output" 2>&1
}

echo 'int main(void) { return 0; }' >"$scratch/nothing.c"
if ! clang -fsanitize=thread "$scratch/nothing.c" -o "$scratch/nothing" 2>/dev/null || ! "$scratch/nothing"; then
	echo 'SKIP: clang cannot build or run a program with ThreadSanitizer here'
	exit 77
fi

build plain
run plain || { cat "$scratch/plain/output"; echo 'FAILED: a correct program is reported'; exit 1; }
build mute -DTETHERI_TSAN_SEES_US
if run mute || ! grep -q 'data race' "$scratch/mute/output"; then
	echo 'FAILED: without its calls nothing is reported either, so this test proves nothing'
	exit 1
fi
