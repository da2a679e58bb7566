/* symbol_module.c - a module that the symbol test loads when names have been looked up already: it calls back.
 * SPDX-License-Identifier: MIT */

/* What a stack shows of this file: symbol_test.cc knows these lines. */
__attribute__((noinline)) static void module_inner(void (*call)(void *), void *argument)
{
	call(argument); /* line 7 */
	__asm__ volatile("" ::: "memory");
}

__attribute__((visibility("default"))) void module_outer(void (*call)(void *), void *argument)
{
	module_inner(call, argument); /* line 13 */
	__asm__ volatile("" ::: "memory");
}
