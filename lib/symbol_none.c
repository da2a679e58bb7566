/* symbol_none.c - names of functions, where the library is built without libbacktrace: none are known.
 * SPDX-License-Identifier: MIT */
#include "symbol.h"

const char *tetheri_symbol_ask(const struct tetheri_module *module, uintptr_t address, struct tetheri_symbol_listener *listener)
{
	(void)module;
	(void)address;
	(void)listener;
	return NULL;
}

const char *tetheri_symbol_read(const struct tetheri_module *module)
{
	(void)module;
	return NULL;
}
