/* label.c - a name for an object, which reports show beside its type; side.c keeps it.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "internal.h"
#include "text.h"

/* Nobody's, or the caller's to use: also what is shared, lent to it, or follows what is its own. */
static bool may_label(const struct tether *tag, uint64_t word)
{
	enum tetheri_state state = tetheri_word_state(word);

	if (!tetheri_word_is_tag(tag, word))
		return false;
	return state == TETHERI_UNBOUND ||
	       ((state == TETHERI_BOUND || state == TETHERI_SHARED || state == TETHERI_LENT || state == TETHERI_FOLLOWS) &&
	        tether_is_mine(tag));
}

int tether_set_label(struct tether *tag, const char *label)
{
	/* Acquire: pairs with the release of the transition that left this state. */
	uint64_t word = __atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE);
	char clean[TETHERI_LABEL_BYTES + 4]; /* a whole character more, so that side.c knows where it may cut */

	for (;;) {
		if (!may_label(tag, word)) {
			enum tether_kind kind = tetheri_tag_verdict(tag, __atomic_load_n(&tag->owner_, __ATOMIC_RELAXED), word);
			tetheri_report_tag(kind, "set_label", tag, TETHERI_CALLER);
			return -EINVAL;
		}
		/* Before the label is there: who drops the object from now on ends its entry. */
		if (__atomic_compare_exchange_n(&tag->state_, &word, word | TETHERI_LABELLED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			break;
	}
	if (!label)
		return tetheri_side_set_label(tag, NULL);
	size_t length = strnlen(label, sizeof clean - 1);
	memcpy(clean, label, length);
	clean[length] = '\0';
	tetheri_clean(clean, length);
	int error = tetheri_side_set_label(tag, clean);
	/* Who dropped an unbound object meanwhile may have ended its entry before it was there. */
	if (tetheri_state_is_dropped(tetheri_word_state(__atomic_load_n(&tag->state_, __ATOMIC_ACQUIRE))))
		tetheri_side_end(tag);
	return error;
}
