#!/bin/sh
# tsan_user.sh - users run ThreadSanitizer over their own code, with a library that was built without it:
# no false report; and one, were its __tsan_acquire and __tsan_release left out. A racing misuse is reported
# with the name of the type. tsan_user.sh SOURCE_ROOT
# SPDX-License-Identifier: MIT
set -eu

root=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# build NAME COMPILER [FLAG...]: the program, on a library compiled with these flags
build()
{
	name=$1
	compiler=$2
	shift 2
	mkdir "$scratch/$name"
	for source in "$root"/lib/*.c; do
		case $(basename "$source") in
		set_ck.c | symbol_backtrace.c) continue ;; # other files do the same without a package
		esac
		$compiler -O1 -g -fPIC -fexceptions -fno-omit-frame-pointer -std=gnu11 -D_GNU_SOURCE -I"$root/include" "$@" \
			-c "$source" -o "$scratch/$name/$(basename "$source" .c).o"
	done
	$compiler -O1 -g -std=gnu11 -fsanitize=thread -I"$root/include" "$root/tests/faults/tsan_user.c" "$scratch/$name"/*.o \
		-lpthread -o "$scratch/$name/program"
}

# run NAME [ARGUMENT]
run()
{
	TSAN_OPTIONS=exitcode=66 "$scratch/$1/program" $2 >"$scratch/$1/output" 2>&1
}

fail()
{
	cat "$scratch/$1/output"
	echo "FAILED: $1: $2"
	exit 1
}

# says NAME ARGUMENT PATTERN...: TSan reports, and in these words
says()
{
	if run "$1" "$2"; then fail "$1" "$2: a race is not reported"; fi
	name=$1 argument=$2
	shift 2
	for pattern; do
		grep -q "$pattern" "$scratch/$name/output" || fail "$name" "$argument: the report does not say '$pattern'"
	done
}

# silent NAME ARGUMENT
silent()
{
	run "$1" "$2" || fail "$1" "$2: a correct order is reported"
	if grep -q ThreadSanitizer "$scratch/$1/output"; then fail "$1" "$2: not silent"; fi
}

echo 'int main(void) { return 0; }' >"$scratch/nothing.c"
for compiler in clang gcc; do
	if ! $compiler -fsanitize=thread "$scratch/nothing.c" -o "$scratch/nothing" 2>/dev/null || ! "$scratch/nothing"; then
		echo "SKIP: $compiler cannot build or run a program with ThreadSanitizer here"
		exit 77
	fi
done

build clang clang
build gcc gcc
build instrumented clang -fsanitize=thread
for name in clang gcc instrumented; do
	silent $name ''
	silent $name enter
	says $name touch 'ThreadSanitizer: data race' 'Location is struct object of size'
	says $name check 'ThreadSanitizer: wrong-thread use of struct object' ' in check\| check .*tsan_user.c' \
		'Location is struct object of size'
	says $name check-static 'ThreadSanitizer: wrong-thread use of struct object' 'Location is global'
	silent $name check-in-order
	grep -q 'tether: wrong-thread use' "$scratch/$name/output" || fail $name 'what is in order for TSan is none of ours'
done

build mute clang -DTETHERI_TSAN_SEES_US
says mute '' 'data race' # or the silence above proves nothing
says mute enter 'data race'
