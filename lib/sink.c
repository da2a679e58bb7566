/* sink.c - write whole texts to the log or to standard error, whatever becomes of those.
 * SPDX-License-Identifier: MIT
 *
 *     text --> take the turn --> the log --(fails)--> standard error --(fails)--> counted as lost
 *
 * A text is one write, where the kernel takes it whole: other writers to the same pipe then cannot cut
 * one of up to PIPE_BUF bytes in two. The turn does that for longer ones, among our own.
 *
 * The turn is a lock that cannot hang. Who finds that it has it already (a signal handler that
 * interrupted the writing) writes without; one whose holder has gone, by a fork or by the end of its
 * thread, is taken over; and where nothing moves for TURN_WAIT_NS (the holder is stuck in a write to a
 * pipe that nobody reads), the text is written out of turn and counted.
 *
 * Invariant: what is not atomic in `file` is touched by who has the turn.
 * Invariant: nothing is written to a descriptor that the log once had, unless it still is that file: a
 *   program that closes all it inherited may have something else there. (Standard error is always number
 *   2, whatever that is by now.)
 * Invariant: no signal that the writing raised (SIGPIPE, SIGXFSZ) is delivered. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "clock.h"
#include "holder.h"
#include "options.h"
#include "sink.h"
#include "spell.h"

#define TURN_WAIT_NS UINT64_C(5000000000)
#define FULL_WAIT_NS UINT64_C(2000000000) /* for room in what does not block */

static struct {
	_Atomic uint64_t holder;   /* see holder.h */
	_Atomic uint64_t progress; /* changes whenever anything was written */
	_Atomic uint64_t lost;
	_Atomic uint64_t out_of_turn;
} turn;

/* A place to write to, as it was left. */
struct outlet {
	_Atomic bool is_torn; /* the last text stopped in its middle */
	_Atomic bool is_full; /* and had waited long enough: the next one does not */
};
static struct outlet standard_error;

static struct {
	_Atomic int fd; /* -1: none */
	_Atomic uint64_t device, inode;
	struct outlet outlet;
	bool is_failing;        /* and that was said */
	int process;            /* that opened it */
	bool is_each;           /* its name contains %p */
	char pattern[PATH_MAX]; /* absolute; "": none */
} file = {.fd = -1};

static _Atomic bool is_plain = true; /* no colours, says the environment */

/* ---- The turn --------------------------------------------------------------------------------- */

/* False: not taken, write all the same. */
static bool turn_take(void)
{
	uint64_t self = tetheri_holder_self();
	uint64_t seen = atomic_load_explicit(&turn.progress, memory_order_relaxed);
	uint64_t since = tetheri_now();
	uint64_t who;

	while (!tetheri_holder_take(&turn.holder, self, &who)) {
		if (who == self)
			return false;
		uint64_t progress = atomic_load_explicit(&turn.progress, memory_order_relaxed);
		if (progress != seen)
			since = tetheri_now();
		seen = progress;
		if (tetheri_now() - since > TURN_WAIT_NS) {
			atomic_fetch_add_explicit(&turn.out_of_turn, 1, memory_order_relaxed);
			return false;
		}
		tetheri_holder_await();
	}
	return true;
}

static void turn_leave(bool taken)
{
	if (taken)
		tetheri_holder_leave(&turn.holder);
}

/* ---- Signals that a write may raise ------------------------------------------------------------ */

/* As the kernel has them: one bit each. */
#define SIGNALS ((UINT64_C(1) << (SIGPIPE - 1)) | (UINT64_C(1) << (SIGXFSZ - 1)))

struct guard {
	uint64_t mask, pending; /* before */
};

/* Raw: no interposed sigprocmask() is to see this. */
static void guard_enter(struct guard *guard)
{
	uint64_t signals = SIGNALS;

	guard->pending = 0;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &signals, &guard->mask, sizeof signals);
	syscall(SYS_rt_sigpending, &guard->pending, sizeof guard->pending);
}

/* What is pending now and was not before is ours: take it away. Whatever write() returned: a pipe that loses its
 * reader in the middle of a text raises SIGPIPE, and tells how much it took. */
static void guard_leave(const struct guard *guard)
{
	const struct timespec now = {0, 0};
	uint64_t pending = 0;

	syscall(SYS_rt_sigpending, &pending, sizeof pending);
	pending &= SIGNALS & ~guard->pending;
	if (pending)
		syscall(SYS_rt_sigtimedwait, &pending, NULL, &now, sizeof pending);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &guard->mask, NULL, sizeof guard->mask);
}

/* ---- Writing ---------------------------------------------------------------------------------- */

/* Wait until there is room. False: not by then. */
static bool await_room(int fd, uint64_t deadline)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};
	uint64_t now = tetheri_now();

	if (now >= deadline)
		return false;
	const struct timespec left = {(time_t)((deadline - now) / 1000000000), (long)((deadline - now) % 1000000000)};
	long ready = syscall(SYS_ppoll, &room, 1, &left, NULL, 0);
	return ready > 0 || (ready < 0 && errno == EINTR);
}

/* 0, or -errno; `*done` is how much was written. Raw: write() is a cancellation point. */
static int write_bytes(int fd, const char *bytes, size_t size, uint64_t wait_ns, size_t *done)
{
	uint64_t deadline = tetheri_now() + wait_ns;

	*done = 0;
	while (*done < size) {
		long written = syscall(SYS_write, fd, bytes + *done, size - *done);
		if (written > 0) {
			*done += (size_t)written;
			atomic_fetch_add_explicit(&turn.progress, 1, memory_order_relaxed);
			deadline = tetheri_now() + FULL_WAIT_NS;
		} else if (written == 0) {
			return -EIO;
		} else if (errno != EINTR && (errno != EAGAIN || !await_room(fd, deadline))) {
			return -errno;
		}
	}
	return 0;
}

/* After a text that was torn, a line of its own. */
static int write_text(struct outlet *outlet, int fd, const char *bytes, size_t size)
{
	uint64_t wait_ns = atomic_load_explicit(&outlet->is_full, memory_order_relaxed) ? 0 : FULL_WAIT_NS;
	bool is_torn = atomic_load_explicit(&outlet->is_torn, memory_order_relaxed);
	struct guard guard;
	size_t done = 0;
	int error = 0;

	guard_enter(&guard);
	if (is_torn)
		error = write_bytes(fd, "\n", 1, wait_ns, &done);
	if (!error) {
		error = write_bytes(fd, bytes, size, wait_ns, &done);
		is_torn = done > 0 && done < size;
	}
	guard_leave(&guard);
	atomic_store_explicit(&outlet->is_torn, is_torn, memory_order_relaxed);
	atomic_store_explicit(&outlet->is_full, error == -EAGAIN, memory_order_relaxed);
	return error;
}

static void write_error(const char *bytes, size_t size)
{
	if (write_text(&standard_error, STDERR_FILENO, bytes, size) != 0)
		atomic_fetch_add_explicit(&turn.lost, 1, memory_order_relaxed);
}

void tetheri_sink_write_error(const char *bytes, size_t size)
{
	int saved_errno = errno;
	bool taken = turn_take();

	write_error(bytes, size);
	turn_leave(taken);
	errno = saved_errno;
}

void tetheri_sink_warn(const char *format, ...)
{
	char bytes[1024];
	struct tetheri_text text = {.bytes = bytes, .size = sizeof bytes - 1}; /* room for the newline */
	va_list arguments;

	tetheri_put(&text, "tether: ");
	size_t used = tetheri_text_length(&text);
	va_start(arguments, format);
	int wanted = vsnprintf(bytes + used, text.size - used, format, arguments);
	va_end(arguments);
	text.used += wanted > 0 ? (size_t)wanted : 0;
	used = tetheri_text_length(&text);
	bytes[used] = '\n';
	tetheri_sink_write_error(bytes, used + 1);
}

/* ---- The log ----------------------------------------------------------------------------------- */

/* Is this descriptor still the log? */
static bool is_log(int fd)
{
	struct stat now;

	return fd >= 0 && fstat(fd, &now) == 0 && (uint64_t)now.st_dev == atomic_load_explicit(&file.device, memory_order_relaxed) &&
	       (uint64_t)now.st_ino == atomic_load_explicit(&file.inode, memory_order_relaxed);
}

/* With the turn. */
static void log_close(void)
{
	int fd = atomic_load_explicit(&file.fd, memory_order_relaxed);

	/* Before it is closed: a signal handler, or a text out of turn, is not to find it. */
	atomic_store_explicit(&file.fd, -1, memory_order_relaxed);
	if (is_log(fd))
		syscall(SYS_close, fd);
}

/* The name that a pattern means in this process. 0 or -errno. */
static int pattern_expand(const char *pattern, struct tetheri_text *path, bool *is_each)
{
	*is_each = false;
	for (const char *at = pattern; *at; at++) {
		if (*at != '%') {
			tetheri_put(path, "%c", *at);
		} else if (*++at == '%') {
			tetheri_put(path, "%%");
		} else if (*at == 'p') {
			tetheri_put(path, "%d", (int)getpid());
			*is_each = true;
		} else {
			return -EINVAL;
		}
	}
	return path->used < path->size ? 0 : -ENAMETOOLONG;
}

/* One that means the same file after a chdir(). 0 or -errno. */
static int pattern_absolute(const char *pattern, struct tetheri_text *absolute)
{
	static char directory[PATH_MAX]; /* with the turn */

	directory[0] = '\0';
	if (pattern[0] != '/' && syscall(SYS_getcwd, directory, sizeof directory) < 0)
		return -errno;
	for (const char *at = directory; *at; at++)
		tetheri_put(absolute, *at == '%' ? "%%%%" : "%c", *at);
	tetheri_put(absolute, pattern[0] != '/' ? "/%s" : "%s", pattern);
	return absolute->used < absolute->size ? 0 : -ENAMETOOLONG;
}

/* What the kernel says where one cannot be made and is not there. `path` is as it was on return. */
static int make_parents(char *path)
{
	int error = -ENOENT;

	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (syscall(SYS_mkdirat, AT_FDCWD, path, 0777) < 0 && errno != EEXIST)
			error = -errno;
		*slash = '/';
	}
	return error;
}

/* A descriptor, or -errno. O_NONBLOCK: a FIFO that nobody reads is an error and no reason to wait. Not 0, 1
 * or 2, though the program may have closed them: what it prints is not for the log. */
static int path_open(char *path)
{
	const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	long fd = syscall(SYS_openat, AT_FDCWD, path, flags, 0666);

	if (fd < 0 && errno == ENOENT) {
		int error = make_parents(path);
		fd = syscall(SYS_openat, AT_FDCWD, path, flags, 0666);
		if (fd < 0 && errno == ENOENT)
			return error;
	}
	if (fd < 0)
		return -errno;
	if (fd > STDERR_FILENO)
		return (int)fd;
	long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	int error = high < 0 ? -errno : 0;
	syscall(SYS_close, fd);
	return error ? error : (int)high;
}

/* With the turn. Open what the pattern names in this process; what was open is closed if that succeeds. */
static int log_open(const char *pattern)
{
	static char path[PATH_MAX]; /* with the turn; a signal's stack may be small */
	struct tetheri_text text = {.bytes = path, .size = sizeof path};
	bool is_each;
	struct stat about;
	int error = pattern_expand(pattern, &text, &is_each);

	if (error)
		return error;
	int fd = path_open(path);
	if (fd < 0)
		return fd;
	if (fstat(fd, &about) != 0) {
		error = -errno;
		syscall(SYS_close, fd);
		return error;
	}
	log_close();
	file.process = (int)getpid();
	file.is_each = is_each;
	file.is_failing = false;
	atomic_store_explicit(&file.outlet.is_torn, false, memory_order_relaxed);
	atomic_store_explicit(&file.outlet.is_full, false, memory_order_relaxed);
	atomic_store_explicit(&file.device, about.st_dev, memory_order_relaxed);
	atomic_store_explicit(&file.inode, about.st_ino, memory_order_relaxed);
	atomic_store_explicit(&file.fd, fd, memory_order_relaxed);
	return 0;
}

static void warn_of_log(const char *pattern, int error, const char *outcome)
{
	char bytes[400];
	struct tetheri_text text = {.bytes = bytes, .size = sizeof bytes};

	tetheri_put_given(&text, (struct tetheri_given){pattern, strlen(pattern)});
	tetheri_sink_warn("log_path='%s': %s; %s", bytes,
	                  error == -EINVAL ? "what follows a % must be p or %" : strerrordesc_np(-error), outcome);
}

/* With the turn: of a forked child whose log is its own, and of a program that closed all descriptors. */
static void log_reopen(void)
{
	int error = log_open(file.pattern);

	if (!error)
		return;
	log_close();
	file.process = (int)getpid();
	warn_of_log(file.pattern, error, "reports go to standard error");
}

/* -1: there is none. */
static int log_find(bool taken)
{
	int fd = atomic_load_explicit(&file.fd, memory_order_relaxed);

	if (taken && file.pattern[0]) {
		bool is_parents = file.is_each && file.process != (int)getpid();
		if (is_parents || (fd >= 0 && !is_log(fd)))
			log_reopen();
		fd = atomic_load_explicit(&file.fd, memory_order_relaxed);
	}
	return is_log(fd) ? fd : -1;
}

/* False: it goes to standard error. */
static bool log_write(const char *bytes, size_t size, bool taken)
{
	int fd = log_find(taken);

	if (fd < 0)
		return false;
	int error = write_text(&file.outlet, fd, bytes, size);
	if (!taken)
		return !error;
	if (error && !file.is_failing)
		warn_of_log(file.pattern, error, "what it does not take goes to standard error");
	file.is_failing = error != 0;
	return !error;
}

void tetheri_sink_write(const char *bytes, size_t size)
{
	int saved_errno = errno;
	bool taken = turn_take();

	if (!log_write(bytes, size, taken))
		write_error(bytes, size);
	turn_leave(taken);
	errno = saved_errno;
}

void tetheri_sink_write_text(const char *bytes, size_t size)
{
	if (tetheri_option(format) == TETHERI_FORMAT_JSONL)
		tetheri_sink_write_error(bytes, size);
	else
		tetheri_sink_write(bytes, size);
}

void tetheri_sink_make_room(struct tetheri_text *text, size_t wanted)
{
	if (text->used + wanted < text->size)
		return;
	tetheri_sink_write_text(text->bytes, tetheri_text_length(text));
	text->used = 0;
}

/* With the turn. A child that is forked meanwhile finds none, rather than half of one. */
static void pattern_write(const char *pattern)
{
	file.pattern[0] = '\0';
	atomic_signal_fence(memory_order_release);
	memcpy(file.pattern + 1, pattern + 1, sizeof file.pattern - 1);
	atomic_signal_fence(memory_order_release);
	file.pattern[0] = pattern[0];
}

/* With the turn. */
static int log_set(const char *pattern)
{
	static char absolute[PATH_MAX];
	struct tetheri_text text = {.bytes = absolute, .size = sizeof absolute};

	if (!*pattern) {
		log_close();
		file.pattern[0] = '\0';
		return 0;
	}
	int error = pattern_absolute(pattern, &text);
	if (!error)
		error = log_open(absolute);
	if (!error)
		pattern_write(absolute);
	return error;
}

int tetheri_sink_open(const char *path)
{
	int saved_errno = errno;
	bool taken = turn_take();
	int error = taken ? log_set(path ? path : "") : -EBUSY;

	if (error)
		warn_of_log(path ? path : "", error,
		            taken && *file.pattern ? "the log stays what it was" : "reports go to standard error");
	turn_leave(taken);
	errno = saved_errno;
	return error;
}

/* ---- What else is asked about where it goes ------------------------------------------------------ */

void tetheri_sink_load(void)
{
	const char *terminal = secure_getenv("TERM");
	const char *none = secure_getenv("NO_COLOR");

	atomic_store_explicit(&is_plain, !terminal || strcmp(terminal, "dumb") == 0 || (none && *none), memory_order_relaxed);
}

bool tetheri_sink_has_colors(void)
{
	int color = tetheri_option(color);
	int fd = atomic_load_explicit(&file.fd, memory_order_relaxed);
	int saved_errno = errno;
	struct termios terminal;

	if (color != TETHERI_COLOR_AUTO || atomic_load_explicit(&is_plain, memory_order_relaxed))
		return color == TETHERI_COLOR_ALWAYS;
	bool is_terminal = syscall(SYS_ioctl, is_log(fd) ? fd : STDERR_FILENO, TCGETS, &terminal) == 0;
	errno = saved_errno;
	return is_terminal;
}

uint64_t tetheri_sink_lost(void)
{
	return atomic_load_explicit(&turn.lost, memory_order_relaxed);
}

uint64_t tetheri_sink_out_of_turn(void)
{
	return atomic_load_explicit(&turn.out_of_turn, memory_order_relaxed);
}

void tetheri_sink_restart(void)
{
	atomic_store_explicit(&turn.lost, 0, memory_order_relaxed);
	atomic_store_explicit(&turn.out_of_turn, 0, memory_order_relaxed);
}
