/* base.c - base.h alone: versions, the switch for checks, identities.
 * SPDX-License-Identifier: MIT */
#include <tether/base.h>

int use(void);
int use(void)
{
	tether_owner_t nobody = TETHER_NOBODY_;
	bool has_owner = tether_self_ != nobody && tether_self_ != TETHER_GONE_;

	return has_owner && TETHER_CHECKS ? TETHER_VERSION_MAJOR + TETHER_VERSION_MINOR + TETHER_VERSION_PATCH : 0;
}
