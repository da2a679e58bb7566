/* options.c - options.h alone: a program's defaults, and a change while it runs.
 * SPDX-License-Identifier: MIT */
#include <tether/options.h>

const char *tether_default_options(void)
{
	return "bind_stacks=fast:history=1";
}

int use(bool is_busy);
int use(bool is_busy)
{
	return tether_set_option("history", is_busy ? "0" : "1");
}
