/* name.c - the names of owners, for reports: of the living, and of the last thousand that have gone.
 * SPDX-License-Identifier: MIT
 *
 * A report may read a name while it is written, in a signal handler perhaps, so there is no lock: a name
 * is words, each atomic. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "internal.h"
#include "text.h"

#define DEPARTED 1024

/* Who has gone, for reports: written under the lock, read by anyone; `id` is cleared first and set last. */
static struct {
	_Atomic uint64_t id;
	_Atomic uint64_t number;
	struct tetheri_name name;
} departed[DEPARTED];

static uint64_t departures; /* under the table's lock */

void tetheri_name_write(struct tetheri_name *name, const char *text)
{
	uint64_t words[TETHERI_NAME_WORDS] = {0};

	size_t length = strnlen(text, sizeof words - 1);
	memcpy(words, text, length);
	tetheri_clean((char *)words, length);
	for (int i = 0; i < TETHERI_NAME_WORDS; i++)
		atomic_store_explicit(&name->word[i], words[i], memory_order_relaxed);
}

void tetheri_name_read(const struct tetheri_name *name, char *text)
{
	uint64_t words[TETHERI_NAME_WORDS];

	for (int i = 0; i < TETHERI_NAME_WORDS; i++)
		words[i] = atomic_load_explicit(&name->word[i], memory_order_relaxed);
	memcpy(text, words, sizeof words);
	text[TETHERI_NAME_BYTES - 1] = '\0';
}

void tetheri_name_from_thread(struct tetheri_name *name)
{
	char text[TETHERI_NAME_BYTES] = "";
	int saved_errno = errno;

	prctl(PR_GET_NAME, text);
	tetheri_name_write(name, text);
	errno = saved_errno;
}

/* Under the lock. */
void tetheri_name_remember(const struct tetheri_slot *slot)
{
	unsigned place = departures++ % DEPARTED;

	/* Release: `id` goes before the words change and comes back after. A reader compares it before and
	 * after; without fences that is not airtight, and a report may at worst mix two names. */
	atomic_store_explicit(&departed[place].id, 0, memory_order_release);
	atomic_store_explicit(&departed[place].number, atomic_load_explicit(&slot->number, memory_order_relaxed),
	                      memory_order_relaxed);
	for (int i = 0; i < TETHERI_NAME_WORDS; i++)
		atomic_store_explicit(&departed[place].name.word[i], atomic_load_explicit(&slot->name.word[i], memory_order_relaxed),
		                      memory_order_relaxed);
	atomic_store_explicit(&departed[place].id, atomic_load_explicit(&slot->id, memory_order_relaxed), memory_order_release);
}

void tetheri_name_recall(tether_owner_t id, struct tetheri_who *out)
{
	for (unsigned i = 0; i < DEPARTED; i++) {
		if (atomic_load_explicit(&departed[i].id, memory_order_acquire) != id)
			continue;
		out->number = atomic_load_explicit(&departed[i].number, memory_order_relaxed);
		tetheri_name_read(&departed[i].name, out->name);
		if (atomic_load_explicit(&departed[i].id, memory_order_relaxed) == id)
			return;
		*out = (struct tetheri_who){.number = 0};
	}
}
