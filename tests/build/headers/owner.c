/* owner.c - owner.h alone: a thread's owner, its name, its number, its end.
 * SPDX-License-Identifier: MIT */
#include <tether/owner.h>

uint64_t use(const char *name);
uint64_t use(const char *name)
{
	tether_owner_t self = tether_self();

	tether_self_set_name(name);
	if (tether_shutdown(1000) == -1)
		return 1;
	tether_owner_exit();
	return tether_owner_is_alive(self) ? tether_owner_number(self) : 0;
}
