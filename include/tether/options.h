/* options.h - what the library is told from outside: TETHER_OPTIONS, the program's defaults, calls.
 * SPDX-License-Identifier: MIT
 *
 *     TETHER_OPTIONS="history=1:bind_stacks=fast:log_path='/var/log/tether.%p'" ./server
 *
 * Later ones win: the library's defaults, tether_default_options(), the environment variable (not in
 * a program with raised privileges), tether_set_option(). docs/options.md and the option help=1 list them.
 *
 * Fork: the child inherits them; a log whose name contains %p starts anew, and max_reports counts anew.
 * Signal handlers: none of these functions. Thread exit: options are the process's. dlclose:
 * tether_default_options() is looked for in the executable, which stays. */
#ifndef TETHER_OPTIONS_H
#define TETHER_OPTIONS_H

#include <tether/base.h>

TETHER_BEGIN_

/** Yours to define, in the executable: options as in TETHER_OPTIONS, in a string that stays; NULL: none. Called
 * once, at the first use of the library, on the thread that uses it. It may use the library itself, which then
 * goes on with what is set so far; what it sets by a call wins. It may wait for other threads: those that use
 * the library meanwhile go on after a second, with a warning. */
const char *tether_default_options(void) __attribute__((weak, visibility("default")));

/** Set one option: tether_set_option("history", "1"). The value is taken as it is, without quotes.
 * Any thread. Takes a lock; may open files, ask the kernel for memory, and write a warning to standard error.
 * 0. -EINVAL: no such option, or not a value for it; for suppressions also what is no file (a FIFO). -ENAMETOOLONG: no
 * path is that long. Else what opening the file said: -ENOENT, -EACCES, -EISDIR, ...; for suppressions also -EFBIG
 * (more than 1 MiB), -EILSEQ (not a text) and -ENOMEM. -EBUSY: a write to the log has been stuck for 5 seconds, or
 * reports still read too many earlier files of suppressions: try again later. A warning names what is wrong, and the
 * nearest good one; the option then keeps its value. */
TETHER_API int tether_set_option(const char *name, const char *value);

/* Private; for python.h: the option script_places. */
TETHER_API bool tether_wants_places_(void);

TETHER_END_

#endif
