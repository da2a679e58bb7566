/* suppress.c - reports that nobody wants to see: a file of "kind:glob" lines, in the syntax of TSan's.
 * SPDX-License-Identifier: MIT
 *
 *     in_use:  how many read << 8 | which place   --->   places[1..]: the set that is used, retired ones
 *
 * A report may be made in a signal handler, so readers take no lock. One word says both which set is in
 * use and how many are reading, whichever set that is; it changes by one atomic operation. Where it once
 * says that nobody reads, nobody can be left in a set that went out of use before: it is unmapped.
 *
 * Invariant: a place other than the one in use holds NULL, or a set that went out of use.
 * Invariant: a set does not change once it is in use, but for its counts. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "holder.h"
#include "sink.h"
#include "spell.h"
#include "suppress.h"

#define FILE_BYTES ((size_t)1 << 20) /* at most */
#define MISTAKES 10                  /* that are said of one file */
#define KINDS (TETHER_FOREIGN_DROP + 1)
#define ANY_KIND (-1)
#define PLACES 8
#define PLACE_MASK UINT64_C(0xff)
#define READER (PLACE_MASK + 1)
#define RETIRE_NAPS 2000 /* of 50 us, until readers have left; then the set stays mapped until the next one */

struct line {
	int kind; /* ANY_KIND: all */
	struct tetheri_given glob;
	_Atomic uint64_t used;
};

struct set {
	size_t mapped;  /* bytes */
	unsigned first; /* its first line's number */
	unsigned count;
	struct line lines[]; /* then the text */
};

static _Atomic uint64_t in_use;
static _Atomic(struct set *) places[PLACES]; /* [0]: NULL, no suppressions */
static _Atomic uint64_t total;

/* ---- Reading a line ---------------------------------------------------------------------------- */

/* A text that is being read. */
struct reading {
	const char *name;
	unsigned line, mistakes;
};

static bool is_blank(char byte)
{
	return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct tetheri_given trim(struct tetheri_given given)
{
	while (given.size > 0 && is_blank(given.bytes[0]))
		given = (struct tetheri_given){given.bytes + 1, given.size - 1};
	while (given.size > 0 && is_blank(given.bytes[given.size - 1]))
		given.size--;
	return given;
}

static void complain(struct reading *reading, struct tetheri_given given, const char *what, const char *or_else)
{
	char bytes[800];
	struct tetheri_text text = {.bytes = bytes, .size = sizeof bytes};

	if (++reading->mistakes > MISTAKES + 1)
		return;
	tetheri_put_given(&text, (struct tetheri_given){reading->name, strlen(reading->name)});
	tetheri_put(&text, ":%u: '", reading->line);
	tetheri_put_given(&text, given);
	tetheri_put(&text, "' %s%s", what, or_else);
	if (reading->mistakes > MISTAKES)
		tetheri_put(&text, "; there is more wrong with it");
	tetheri_sink_warn("%s", bytes);
}

static void complain_of_kind(struct reading *reading, struct tetheri_given given)
{
	char bytes[800];
	struct tetheri_text text = {.bytes = bytes, .size = sizeof bytes};
	struct tetheri_guess guess = {.given = given};

	for (int kind = 0; kind < KINDS; kind++)
		tetheri_guess_offer(&guess, tether_kind_name((enum tether_kind)kind));
	tetheri_put_guess(&text, &guess);
	for (int kind = 0; kind < KINDS && !guess.word; kind++)
		tetheri_put(&text, "%s%s", kind ? ", " : ": use * or one of ", tether_kind_name((enum tether_kind)kind));
	complain(reading, given, "is no kind of report", bytes);
}

static bool kind_read(struct tetheri_given given, int *out)
{
	*out = ANY_KIND;
	if (tetheri_given_is(given, "*"))
		return true;
	for (*out = 0; *out < KINDS; ++*out)
		if (tetheri_given_is(given, tether_kind_name((enum tether_kind)(*out))))
			return true;
	return false;
}

/* False: nothing to keep; what is wrong was said. */
static bool line_read(struct reading *reading, struct tetheri_given given, struct line *out)
{
	if (given.size == 0 || given.bytes[0] == '#')
		return false;
	const char *colon = memchr(given.bytes, ':', given.size);
	if (!colon || colon + 1 == given.bytes + given.size) {
		complain(reading, given, "is not of the form kind:glob", "");
		return false;
	}
	struct tetheri_given kind = trim((struct tetheri_given){given.bytes, (size_t)(colon - given.bytes)});
	out->glob = trim((struct tetheri_given){colon + 1, (size_t)(given.bytes + given.size - colon - 1)});
	if (kind_read(kind, &out->kind))
		return true;
	complain_of_kind(reading, kind);
	return false;
}

/* ---- Matching ---------------------------------------------------------------------------------- */

/* Each piece between asterisks is looked for once, behind the one before: the leftmost place that fits one
 * leaves the most room for the next, so there is nothing to try again. */
static bool glob_fits(struct tetheri_given glob, const char *text)
{
	size_t left = strlen(text);
	bool here = glob.size > 0 && glob.bytes[0] == '^';
	bool to_end = glob.size > here && glob.bytes[glob.size - 1] == '$';
	const char *piece = glob.bytes + here;
	const char *end = glob.bytes + glob.size - to_end;

	for (;; here = false) {
		const char *star = memchr(piece, '*', (size_t)(end - piece));
		size_t size = (size_t)((star ? star : end) - piece);
		if (size > left || (here && memcmp(text, piece, size) != 0))
			return false;
		if (!star && to_end)
			return (!here || size == left) && memcmp(text + left - size, piece, size) == 0;
		const char *found = here ? text : memmem(text, left, piece, size);
		if (!found)
			return false;
		if (!star)
			return true;
		left -= (size_t)(found - text) + size;
		text = found + size;
		piece = star + 1;
	}
}

/* What is not known is "": a lone asterisk fits it. */
static bool glob_fits_any(struct tetheri_given glob, const char *const *texts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (glob_fits(glob, texts[i] ? texts[i] : ""))
			return true;
	return false;
}

static bool line_fits(const struct line *line, const struct tether_report *report)
{
	const char *const own[] = {report->type, report->function, report->file};

	if (line->kind != ANY_KIND && line->kind != (int)report->kind)
		return false;
	if (glob_fits_any(line->glob, own, sizeof own / sizeof *own))
		return true;
	for (size_t i = 0; i < report->at.count; i++) {
		const struct tether_frame *frame = &report->at.frames[i];
		const char *const its[] = {frame->function, frame->file, frame->module};
		if (glob_fits_any(line->glob, its, sizeof its / sizeof *its))
			return true;
	}
	return false;
}

/* ---- The set in use ---------------------------------------------------------------------------- */

/* NULL: none. To be left in any case. */
static struct set *set_enter(void)
{
	/* Acquire: pairs with the release in set_publish; the set and its place are there. */
	uint64_t word = atomic_fetch_add_explicit(&in_use, READER, memory_order_acquire);

	return atomic_load_explicit(&places[word & PLACE_MASK], memory_order_relaxed);
}

static void set_leave(void)
{
	/* Release: pairs with the acquire in retired_unmap; the set was read before it goes. */
	atomic_fetch_sub_explicit(&in_use, READER, memory_order_release);
}

/* Unmap the sets that are out of use, if nobody is reading. */
static bool retired_unmap(void)
{
	uint64_t word = atomic_load_explicit(&in_use, memory_order_acquire);

	if (word >= READER)
		return false;
	for (unsigned i = 0; i < PLACES; i++) {
		struct set *set = atomic_load_explicit(&places[i], memory_order_relaxed);
		if (!set || i == word)
			continue;
		atomic_store_explicit(&places[i], NULL, memory_order_relaxed);
		munmap(set, set->mapped);
	}
	return true;
}

/* Use this set from now on; NULL: none. 0 or -EBUSY. */
static int set_publish(struct set *set)
{
	uint64_t word = atomic_load_explicit(&in_use, memory_order_relaxed);
	uint64_t place = 0;

	if (set) {
		(void)retired_unmap();
		for (place = 1; place < PLACES && atomic_load_explicit(&places[place], memory_order_relaxed); place++)
			;
		if (place == PLACES)
			return -EBUSY;
		atomic_store_explicit(&places[place], set, memory_order_relaxed);
	}
	/* Release: the set, before its readers find it. */
	while (!atomic_compare_exchange_weak_explicit(&in_use, &word, (word & ~PLACE_MASK) | place, memory_order_release,
	                                              memory_order_relaxed))
		;
	for (int i = 0; i < RETIRE_NAPS && !retired_unmap(); i++)
		tetheri_holder_await();
	return 0;
}

static unsigned lines_at_most(const char *bytes, size_t size)
{
	unsigned lines = 1;

	for (size_t i = 0; i < size; i++)
		lines += bytes[i] == '\n';
	return lines;
}

static void set_fill(struct set *set, struct reading *reading, const char *bytes, size_t size)
{
	const char *end = bytes + size;

	if (size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
		bytes += 3; /* some editors mark UTF-8 so */
	while (bytes < end) {
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
		const char *line_end = newline ? newline : end;
		reading->line++;
		if (line_read(reading, trim((struct tetheri_given){bytes, (size_t)(line_end - bytes)}), &set->lines[set->count]))
			set->count++;
		bytes = line_end + 1;
	}
}

int tetheri_suppress_read(const char *name, const char *bytes, size_t size)
{
	static unsigned next_number; /* one thread at a time */
	struct reading reading = {.name = name};
	unsigned lines = lines_at_most(bytes, size);
	size_t mapped = sizeof(struct set) + lines * sizeof(struct line) + size;
	struct set *set = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (set == MAP_FAILED)
		return -ENOMEM;
	char *text = memcpy((char *)(set->lines + lines), bytes, size);
	set->mapped = mapped;
	set->first = next_number;
	set_fill(set, &reading, text, size);
	next_number = (next_number + set->count) & INT_MAX;
	int error = set_publish(set);
	if (error)
		munmap(set, mapped);
	return error;
}

/* ---- The file ---------------------------------------------------------------------------------- */

/* A regular file, or -errno. O_NONBLOCK: a FIFO is not to be waited for. */
static int file_open(const char *path)
{
	long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat about;
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fstat((int)fd, &about) != 0)
		error = -errno;
	else if (S_ISDIR(about.st_mode))
		error = -EISDIR;
	else if (!S_ISREG(about.st_mode))
		error = -EINVAL;
	if (!error)
		return (int)fd;
	syscall(SYS_close, fd);
	return error;
}

/* Raw: read() is a cancellation point. How much there was, at most `size`; or -errno. */
static long file_read(int fd, char *bytes, size_t size)
{
	size_t got = 0;

	while (got < size) {
		long more = syscall(SYS_read, fd, bytes + got, size - got);
		if (more == 0)
			break;
		if (more < 0 && errno != EINTR)
			return -errno;
		got += more > 0 ? (size_t)more : 0;
	}
	return (long)got;
}

static int file_use(const char *path, int fd)
{
	char *bytes = mmap(NULL, FILE_BYTES + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error;

	if (bytes == MAP_FAILED)
		return -ENOMEM;
	long size = file_read(fd, bytes, FILE_BYTES + 1);
	if (size < 0)
		error = (int)size;
	else if ((size_t)size > FILE_BYTES)
		error = -EFBIG;
	else if (memchr(bytes, '\0', (size_t)size))
		error = -EILSEQ;
	else
		error = tetheri_suppress_read(path, bytes, (size_t)size);
	munmap(bytes, FILE_BYTES + 1);
	return error;
}

static void warn_of_file(const char *path, int error)
{
	char bytes[400];
	struct tetheri_text text = {.bytes = bytes, .size = sizeof bytes};
	const char *why = strerrordesc_np(-error);

	tetheri_put_given(&text, (struct tetheri_given){path, strlen(path)});
	if (error == -EINVAL)
		why = "not a regular file";
	else if (error == -EFBIG)
		why = "larger than 1 MiB";
	else if (error == -EILSEQ)
		why = "not a text: there is a zero byte in it";
	tetheri_sink_warn("suppressions='%s': %s; not used", bytes, why);
}

int tetheri_suppress_load(const char *path)
{
	int saved_errno = errno;
	int error;

	if (!path || !*path)
		return set_publish(NULL);
	int fd = file_open(path);
	if (fd < 0) {
		error = fd;
	} else {
		error = file_use(path, fd);
		syscall(SYS_close, fd);
	}
	if (error)
		warn_of_file(path, error);
	errno = saved_errno;
	return error;
}

/* ---- What reports ask -------------------------------------------------------------------------- */

bool tetheri_suppress_any(void)
{
	return (atomic_load_explicit(&in_use, memory_order_relaxed) & PLACE_MASK) != 0;
}

int tetheri_suppress_find(const struct tether_report *report)
{
	const struct set *set = set_enter();
	int number = TETHERI_SUPPRESS_NONE;

	for (unsigned i = 0; set && i < set->count && number == TETHERI_SUPPRESS_NONE; i++)
		if (line_fits(&set->lines[i], report))
			number = (int)((set->first + i) & INT_MAX);
	set_leave();
	return number;
}

static bool count_line(int number)
{
	struct set *set = set_enter();
	unsigned at = set ? ((unsigned)number - set->first) & INT_MAX : 0;
	bool is_in_use = set && at < set->count;

	if (is_in_use)
		atomic_fetch_add_explicit(&set->lines[at].used, 1, memory_order_relaxed);
	set_leave();
	return is_in_use;
}

/* The set may have been replaced since it was found: then the total alone knows. */
void tetheri_suppress_count(int number)
{
	(void)count_line(number);
	atomic_fetch_add_explicit(&total, 1, memory_order_relaxed);
}

bool tetheri_suppress_again(int number)
{
	bool is_in_use = count_line(number);

	if (is_in_use)
		atomic_fetch_add_explicit(&total, 1, memory_order_relaxed);
	return is_in_use;
}

uint64_t tetheri_suppress_total(void)
{
	return atomic_load_explicit(&total, memory_order_relaxed);
}

static void put_line(struct tetheri_text *text, const struct line *line)
{
	uint64_t used = atomic_load_explicit(&line->used, memory_order_relaxed);

	if (used == 0)
		return;
	const char *kind = line->kind == ANY_KIND ? "*" : tether_kind_name((enum tether_kind)line->kind);
	tetheri_put(text, "  %llu %s:", (unsigned long long)used, kind);
	tetheri_put_given(text, line->glob);
	tetheri_put(text, "\n");
}

void tetheri_suppress_put(struct tetheri_text *text)
{
	uint64_t matched = tetheri_suppress_total();
	const struct set *set = set_enter();

	if (matched > 0)
		tetheri_put(text, "Matched %llu suppressions:\n", (unsigned long long)matched);
	for (unsigned i = 0; set && i < set->count; i++)
		put_line(text, &set->lines[i]);
	set_leave();
}

/* A reader that the fork left behind would keep every later set mapped, and soon there would be no place for one. */
void tetheri_suppress_restart(void)
{
	uint64_t place = atomic_load_explicit(&in_use, memory_order_relaxed) & PLACE_MASK;
	struct set *set = atomic_load_explicit(&places[place], memory_order_relaxed);

	atomic_store_explicit(&in_use, place, memory_order_relaxed);
	atomic_store_explicit(&total, 0, memory_order_relaxed);
	for (unsigned i = 0; set && i < set->count; i++)
		atomic_store_explicit(&set->lines[i].used, 0, memory_order_relaxed);
}
