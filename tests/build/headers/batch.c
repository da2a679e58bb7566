/* batch.c - batch.h alone: a scope, and the same by hand.
 * SPDX-License-Identifier: MIT */
#include <tether/batch.h>

int use(struct tether *first, struct tether *second);
int use(struct tether *first, struct tether *second)
{
	int error = tether_batch_begin();

	if (error)
		return error;
	{
		TETHER_BATCH();
		TETHER_BATCH();
		tether_drop(first);
		tether_batch_flush();
	}
	tether_drop(second);
	tether_batch_end();
	return 0;
}
