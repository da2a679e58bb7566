/* fd.h - what reports need to know of adopted descriptors.
 * SPDX-License-Identifier: MIT */
#ifndef TETHERI_FD_H
#define TETHERI_FD_H

#include <tether/tag.h>

#pragma GCC visibility push(hidden)

int tetheri_fd_number(const struct tether_type *of, const struct tether *tag); /* -1: the tag is no descriptor's */

#pragma GCC visibility pop

#endif
