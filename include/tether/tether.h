/* tether.h - everything: tags, checks, drops, moves, groups, counts, exclusive use, owners, loops, reports, options.
 * SPDX-License-Identifier: MIT */
#ifndef TETHER_TETHER_H
#define TETHER_TETHER_H

#include <tether/base.h>
#include <tether/batch.h>
#include <tether/drop.h>
#include <tether/fd.h>
#include <tether/group.h>
#include <tether/loop.h>
#include <tether/move.h>
#include <tether/options.h>
#include <tether/owner.h>
#include <tether/ref.h>
#include <tether/report.h>
#include <tether/tag.h>
#include <tether/use.h>

#endif
