/* copy.h - what a module with a library of its own inside offers to the test that loads it.
 * SPDX-License-Identifier: MIT */
#ifndef TETHER_TESTS_COPY_H
#define TETHER_TESTS_COPY_H

#include <tether/tether.h>

struct copy {
	tether_owner_t (*self)(void);
	void (*bind)(struct tether *, const struct tether_type *);
	void (*bind_later)(struct tether *, const struct tether_type *);
	bool (*ensure)(const struct tether *);
	bool (*is_mine)(const struct tether *);
	bool (*claim)(struct tether *);
	enum tether_dropped (*drop)(struct tether *);
	enum tether_dropped (*drop_later)(struct tether *);
	void (*fini)(struct tether *);
	int (*post)(tether_owner_t, struct tether_message *);
	size_t (*drain)(size_t);
	void (*set_level)(enum tether_level);
	void (*set_report_callback)(void (*)(const struct tether_report *, void *), void *);
	const struct tether_type *type; /* of this module, for an object that begins with its tag */
	const int *destroyed;           /* how many of that type */
};

#endif
