/* options.c - what the library is told from outside, and what is said of it when it makes no sense.
 * SPDX-License-Identifier: MIT
 *
 *     defaults < tether_default_options() < TETHER_OPTIONS < tether_set_option()
 *
 * The first use of the library reads the second and the third. Then files are opened: only those that
 * won, so that a log which the environment replaced is not made. tether_default_options() is the
 * program's code and may use the library: its thread goes on with what is set so far, and what it sets
 * itself wins as any call does. Other threads wait until everything is read, but for a second at most:
 * that code may be waiting for one of them.
 *
 * Invariant: an option's value is one that its row of the table allows.
 * Invariant: nothing here calls malloc: the first use may be in a signal handler. */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <tether/options.h>
#include <tether/tag.h>

#include "clock.h"
#include "holder.h"
#include "options.h"
#include "sink.h"
#include "spell.h"
#include "stack.h"
#include "suppress.h"

#define MISTAKES 10 /* that are said of one text */
#define LOADED UINT64_MAX
#define LOAD_WAIT_NS UINT64_C(1000000000)

#define DEFAULTS \
	{ \
		.level = TETHER_WARN_ONCE, .stack_depth = 16, .symbols = 1, .stall_ms = 10000, .exit_drain = 1, .exit_summary = 1, \
		.script_places = 1, .linger_us = 50 \
	}
struct tetheri_options tetheri_options = DEFAULTS;
static const struct tetheri_options defaults = DEFAULTS;
_Atomic unsigned tetheri_trace = TETHERI_TRACE_STALLS;
_Atomic uint64_t tetheri_history_since;

/* ---- The table ------------------------------------------------------------------------------- */

/* A word's value is `min` and its place in the list; a second round of the list means the same again. */
static const char *const level_words[] = {"count", "once", "warn", "abort", NULL};
static const char *const format_words[] = {"text", "jsonl", "both", NULL};
static const char *const color_words[] = {"auto", "always", "never", NULL};
static const char *const dedup_words[] = {"site", "stack", "none", NULL};
static const char *const bind_words[] = {"off", "fast", "full", NULL};
static const char *const switch_words[] = {"0", "1", "off", "on", "no", "yes", "false", "true", NULL};

struct option {
	const char *name;
	size_t offset; /* of the value, in struct tetheri_options; of a path: its place in settings.path */
	int min, max;
	const char *const *words;      /* NULL: a number */
	int (*open)(const char *path); /* NULL: no file */
	const char *help;
};

enum path { LOG_PATH, SUPPRESSIONS, PATHS };

#define VALUE(option) .name = #option, .offset = offsetof(struct tetheri_options, option)
#define SWITCH .max = 1, .words = switch_words

/* clang-format off */
static const struct option options[] = {
	{VALUE(level), .min = TETHER_COUNT, .max = TETHER_ABORT, .words = level_words,
	 .help = "what a violation does, where its type does not say"},
	{VALUE(abort), SWITCH, .help = "abort after the first report"},
	{VALUE(exit_code), .max = 255, .help = "the status to exit with if there were reports; 0: leave it alone"},
	{.name = "log_path", .offset = LOG_PATH, .open = tetheri_sink_open,
	 .help = "write there, not to standard error; %p: the process, %%: a %"},
	{VALUE(format), .max = TETHERI_FORMAT_BOTH, .words = format_words, .help = "for people, or a line of JSON for each report"},
	{VALUE(color), .max = TETHERI_COLOR_NEVER, .words = color_words, .help = "auto: on a terminal"},
	{.name = "suppressions", .offset = SUPPRESSIONS, .open = tetheri_suppress_load,
	 .help = "kind:glob lines that name what is not to be reported"},
	{VALUE(dedup), .max = TETHERI_DEDUP_NONE, .words = dedup_words, .help = "with level=once: what makes two reports the same"},
	{VALUE(max_reports), .max = INT_MAX, .help = "count what comes after so many; 0: no end"},
	{VALUE(bind_stacks), .max = TETHERI_BIND_STACKS_FULL, .words = bind_words,
	 .help = "keep where an object got its owner: by frame pointers, or unwinding"},
	{VALUE(stack_depth), .min = 1, .max = TETHERI_STACK_DEPTH, .help = "how many frames of that"},
	{VALUE(history), SWITCH, .help = "keep the last 4 changes of an object's owner"},
	{VALUE(symbols), SWITCH, .help = "names and lines for addresses"},
	{VALUE(stall_ms), .max = INT_MAX, .help = "report an owner that let a drop wait so long; 0: never"},
	{VALUE(queue_warn), .max = INT_MAX, .help = "report an owner that has so many pending; 0: never"},
	{VALUE(linger_us), .max = TETHERI_LINGER_US, .help = "how long a loop that parks sleeps unarmed after a drain; 0: never"},
	{VALUE(exit_drain), SWITCH, .help = "run at exit what is pending for the thread that exits"},
	{VALUE(exit_summary), SWITCH, .help = "say at exit what was reported and what is left"},
	{VALUE(script_places), SWITCH, .help = "label what a script makes with its file and line (python.h)"},
	{VALUE(help), SWITCH, .help = "write this"},
};
/* clang-format on */
#define OPTIONS (sizeof options / sizeof *options)

static struct {
	_Atomic uint64_t holder;     /* see holder.h; of what follows, and of writing values */
	unsigned char rank[OPTIONS]; /* enum tetheri_rank: who set it */
	char path[PATHS][PATH_MAX];  /* "" where it is none */
	char text[PATH_MAX];
} settings;

/* False: by a signal handler that interrupted who holds it. */
static bool settings_lock(void)
{
	uint64_t self = tetheri_holder_self();
	uint64_t who;

	while (!tetheri_holder_take(&settings.holder, self, &who)) {
		if (who == self)
			return false;
		tetheri_holder_await();
	}
	return true;
}

/* ---- What is wrong ---------------------------------------------------------------------------- */

/* Where a value comes from, and how much was said of it. */
struct source {
	const char *origin;
	enum tetheri_rank rank;
	unsigned mistakes;
};

struct complaint {
	struct tetheri_text text;
	char bytes[512];
};

static void complaint_start(struct complaint *complaint)
{
	complaint->text = (struct tetheri_text){.bytes = complaint->bytes, .size = sizeof complaint->bytes};
}

static void complaint_end(struct complaint *complaint, struct source *source)
{
	if (source->mistakes++ < MISTAKES)
		tetheri_sink_warn("%s: %s", source->origin, complaint->bytes);
	else if (source->mistakes == MISTAKES + 1)
		tetheri_sink_warn("%s: there is more wrong with it", source->origin);
}

static void complain(struct source *source, struct tetheri_given given, const char *what)
{
	struct complaint complaint;

	complaint_start(&complaint);
	tetheri_put(&complaint.text, "'");
	tetheri_put_given(&complaint.text, given);
	tetheri_put(&complaint.text, "'%s", what);
	complaint_end(&complaint, source);
}

static void complain_of_name(struct source *source, struct tetheri_given name)
{
	struct complaint complaint;
	struct tetheri_guess guess = {.given = name};

	for (size_t i = 0; i < OPTIONS; i++)
		tetheri_guess_offer(&guess, options[i].name);
	complaint_start(&complaint);
	tetheri_put(&complaint.text, "no option '");
	tetheri_put_given(&complaint.text, name);
	tetheri_put(&complaint.text, "'");
	tetheri_put_guess(&complaint.text, &guess);
	if (!guess.word)
		tetheri_put(&complaint.text, "; help=1 lists them");
	complaint_end(&complaint, source);
}

static void put_words(struct tetheri_text *text, const char *const *words, size_t count, const char *between)
{
	for (size_t i = 0; i < count && words[i]; i++)
		tetheri_put(text, "%s%s", i ? between : "", words[i]);
}

static void complain_of_value(struct source *source, const struct option *option, struct tetheri_given value)
{
	struct complaint complaint;
	struct tetheri_guess guess = {.given = value};

	complaint_start(&complaint);
	tetheri_put(&complaint.text, "%s='", option->name);
	tetheri_put_given(&complaint.text, value);
	tetheri_put(&complaint.text, "' is none of ");
	if (option->words) {
		put_words(&complaint.text, option->words, SIZE_MAX, ", ");
		for (size_t i = 0; option->words[i]; i++)
			tetheri_guess_offer(&guess, option->words[i]);
		tetheri_put_guess(&complaint.text, &guess);
	} else {
		tetheri_put(&complaint.text, "the numbers from %d to %d", option->min, option->max);
	}
	complaint_end(&complaint, source);
}

/* ---- Setting one ------------------------------------------------------------------------------ */

static _Atomic int *value_of(const struct option *option)
{
	return (_Atomic int *)((char *)&tetheri_options + option->offset);
}

static const struct option *option_find(struct tetheri_given name)
{
	for (size_t i = 0; i < OPTIONS; i++)
		if (tetheri_given_is(name, options[i].name))
			return &options[i];
	return NULL;
}

static bool number_read(const struct option *option, struct tetheri_given value, int *out)
{
	int64_t number = 0;

	for (size_t i = 0; i < value.size; i++) {
		if (value.bytes[i] < '0' || value.bytes[i] > '9')
			return false;
		number = number * 10 + (value.bytes[i] - '0');
		if (number > option->max)
			return false;
	}
	*out = (int)number;
	return value.size > 0 && number >= option->min;
}

static bool word_read(const struct option *option, struct tetheri_given value, int *out)
{
	for (int i = 0; option->words[i]; i++) {
		if (!tetheri_given_is(value, option->words[i]))
			continue;
		*out = option->min + i % (option->max - option->min + 1);
		return true;
	}
	return false;
}

static void trace_update(void)
{
	unsigned before = atomic_load_explicit(&tetheri_trace, memory_order_relaxed);
	unsigned trace = 0;

	if (tetheri_option(bind_stacks) != TETHERI_BIND_STACKS_OFF)
		trace |= TETHERI_TRACE_STACKS;
	if (tetheri_option(history))
		trace |= TETHERI_TRACE_HISTORY;
	if (trace & ~before & TETHERI_TRACE_HISTORY)
		atomic_store_explicit(&tetheri_history_since, tetheri_now(), memory_order_relaxed);
	if (tetheri_option(stall_ms) > 0)
		trace |= TETHERI_TRACE_STALLS;
	if (tetheri_option(queue_warn) > 0)
		trace |= TETHERI_TRACE_QUEUES;
	/* The options' bits are changed here alone; what lies above them, by others. */
	atomic_fetch_xor_explicit(&tetheri_trace, (before ^ trace) & TETHERI_TRACE_OPTIONS, memory_order_relaxed);
}

/* Under the lock. A call wants to hear at once whether the file can be used; what was read is opened later. */
static int path_set(const struct option *option, struct tetheri_given value, struct source *source)
{
	char *path = settings.path[option->offset];
	int error = 0;

	if (value.size >= sizeof settings.text) {
		complain(source, (struct tetheri_given){option->name, strlen(option->name)}, ": its path is too long");
		return -ENAMETOOLONG;
	}
	memcpy(settings.text, value.bytes, value.size);
	settings.text[value.size] = '\0';
	if (source->rank == TETHERI_BY_CALL)
		error = option->open(settings.text);
	if (!error)
		memcpy(path, settings.text, value.size + 1);
	return error;
}

/* Under the lock. */
static int option_set(struct tetheri_given name, struct tetheri_given value, struct source *source)
{
	const struct option *option = option_find(name);
	int number = 0;
	int error = 0;

	if (!option) {
		complain_of_name(source, name);
		return -EINVAL;
	}
	unsigned char *rank = &settings.rank[option - options];
	if (!option->open && !(option->words ? word_read : number_read)(option, value, &number)) {
		complain_of_value(source, option, value);
		return -EINVAL;
	}
	if (source->rank < *rank)
		return 0;
	if (option->open)
		error = path_set(option, value, source);
	else
		atomic_store_explicit(value_of(option), number, memory_order_relaxed);
	if (!error)
		*rank = (unsigned char)source->rank;
	trace_update();
	return error;
}

/* ---- Reading a text --------------------------------------------------------------------------- */

static const char separators[] = ":, \t\r\n\v\f";

/* The value at `*at`, which goes to its end. False: it makes no sense, and that was said. */
static bool value_read(const char **at, struct tetheri_given name, struct tetheri_given *value, struct source *source)
{
	const char *start = *at;
	bool quoted = *start == '\'' || *start == '"';

	if (!quoted) {
		*value = (struct tetheri_given){start, strcspn(start, separators)};
		*at = start + value->size;
		return true;
	}
	const char *end = strchr(start + 1, *start);
	if (!end) {
		complain(source, name, ": its value begins with a quote that has no end");
		*at = start + strlen(start);
		return false;
	}
	*value = (struct tetheri_given){start + 1, (size_t)(end - start - 1)};
	*at = end + 1 + strcspn(end + 1, separators);
	if (*at == end + 1)
		return true;
	complain(source, name, ": something follows the quote that ends its value");
	return false;
}

void tetheri_options_read(const char *text, const char *origin, enum tetheri_rank rank)
{
	struct source source = {.origin = origin, .rank = rank};
	struct tetheri_given name, value;

	for (text += strspn(text, separators); *text; text += strspn(text, separators)) {
		size_t size = strcspn(text, "=:, \t\r\n\v\f");
		name = (struct tetheri_given){text, size};
		text += size;
		if (*text != '=') {
			complain(&source, name, " has no value: write NAME=VALUE");
			continue;
		}
		text++;
		if (value_read(&text, name, &value, &source))
			(void)option_set(name, value, &source);
	}
}

/* ---- Help ------------------------------------------------------------------------------------- */

static void put_value(struct tetheri_text *text, const struct option *option, int value)
{
	if (option->words)
		tetheri_put(text, "%s", option->words[value - option->min]);
	else
		tetheri_put(text, "%d", value);
}

static void put_option(struct tetheri_text *text, const struct option *option)
{
	const _Atomic int *standard = (const _Atomic int *)((const char *)&defaults + option->offset);

	tetheri_put(text, "  %s=", option->name);
	put_value(text, option, atomic_load_explicit(value_of(option), memory_order_relaxed));
	tetheri_put(text, "  [");
	if (option->words)
		put_words(text, option->words, (size_t)(option->max - option->min) + 1, "|");
	else
		tetheri_put(text, "%d..%d", option->min, option->max);
	tetheri_put(text, ", default ");
	put_value(text, option, atomic_load_explicit(standard, memory_order_relaxed));
	tetheri_put(text, "]  %s\n", option->help);
}

/* Under the lock. */
static void put_path(struct tetheri_text *text, const struct option *option)
{
	const char *path = settings.path[option->offset];

	tetheri_put(text, "  %s=", option->name);
	tetheri_put_given(text, (struct tetheri_given){path, strlen(path)});
	tetheri_put(text, "  [a path, default none]  %s\n", option->help);
}

/* Under the lock. */
static void write_help(void)
{
	struct tetheri_text text = {.bytes = settings.text, .size = sizeof settings.text};

	tetheri_put(&text, "tether: options, as they are now; TETHER_OPTIONS=\"name=value:name='value'\" sets them:\n");
	for (size_t i = 0; i < OPTIONS; i++)
		(options[i].open ? put_path : put_option)(&text, &options[i]);
	tetheri_sink_write_error(settings.text, tetheri_text_length(&text));
}

/* ---- When ------------------------------------------------------------------------------------- */

/* Under the lock. */
static void open_paths(void)
{
	for (size_t i = 0; i < OPTIONS; i++) {
		bool was_read = settings.rank[i] == TETHERI_BY_PROGRAM || settings.rank[i] == TETHERI_BY_ENVIRONMENT;
		char *path = options[i].open ? settings.path[options[i].offset] : NULL;
		if (path && was_read && options[i].open(path) != 0)
			path[0] = '\0';
	}
}

static void load(void)
{
	const char *program = tether_default_options ? tether_default_options() : NULL;
	const char *environment = secure_getenv("TETHER_OPTIONS");

	if (!settings_lock())
		return;
	tetheri_sink_load();
	if (program)
		tetheri_options_read(program, "tether_default_options()", TETHERI_BY_PROGRAM);
	if (environment)
		tetheri_options_read(environment, "TETHER_OPTIONS", TETHERI_BY_ENVIRONMENT);
	open_paths();
	if (tetheri_option(help))
		write_help();
	tetheri_holder_leave(&settings.holder);
}

static _Atomic uint64_t loader; /* 0: nobody yet; LOADED; else who is at it */

/* True: `who` is LOADED now, and not by us. */
static bool load_give_up(uint64_t who)
{
	/* Relaxed: whoever goes on reads each option for itself. */
	if (!atomic_compare_exchange_strong_explicit(&loader, &who, LOADED, memory_order_relaxed, memory_order_relaxed))
		return false;
	tetheri_sink_warn("another thread is still reading the options; going on with those that are set");
	return true;
}

static void load_slow(uint64_t who)
{
	uint64_t self = tetheri_holder_self();
	uint64_t patience = tetheri_now() + LOAD_WAIT_NS;

	while (who != LOADED && who != self) {
		bool is_free = who == 0 || tetheri_holder_is_gone(who);
		/* Relaxed: what the one before us set, if a fork left it behind, is read value by value. */
		if (is_free && atomic_compare_exchange_strong_explicit(&loader, &who, self, memory_order_relaxed, memory_order_relaxed)) {
			load();
			/* Release: pairs with the acquire of who finds it LOADED. */
			atomic_store_explicit(&loader, LOADED, memory_order_release);
			return;
		}
		if (!is_free && tetheri_now() > patience && load_give_up(who))
			return;
		tetheri_holder_await();
		/* Acquire: as in tetheri_options_load. */
		who = atomic_load_explicit(&loader, memory_order_acquire);
	}
}

void tetheri_options_load(void)
{
	/* Acquire: pairs with the release that said LOADED; files are open then. */
	uint64_t who = atomic_load_explicit(&loader, memory_order_acquire);
	int saved_errno = errno;
	int cancel_state;

	if (__builtin_expect(who == LOADED, 1))
		return;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	load_slow(who);
	pthread_setcancelstate(cancel_state, NULL);
	errno = saved_errno;
}

bool tether_wants_places_(void)
{
	tetheri_options_load();
	return tetheri_option(script_places);
}

int tether_set_option(const char *name, const char *value)
{
	struct source source = {.origin = "tether_set_option()", .rank = TETHERI_BY_CALL};
	int saved_errno = errno;
	int cancel_state;

	tetheri_options_load();
	name = name ? name : "";
	value = value ? value : "";
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	int error = -EDEADLK;
	if (settings_lock()) {
		error = option_set((struct tetheri_given){name, strlen(name)}, (struct tetheri_given){value, strlen(value)}, &source);
		if (!error && strcmp(name, "help") == 0 && tetheri_option(help))
			write_help();
		tetheri_holder_leave(&settings.holder);
	}
	pthread_setcancelstate(cancel_state, NULL);
	errno = saved_errno;
	return error;
}
