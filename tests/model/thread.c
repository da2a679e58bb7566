/* thread.c - the threads of a scenario: on one kernel thread, each with a stack and a thread-local block.
 * SPDX-License-Identifier: MIT
 *
 * What the library has in thread-local storage lies in one block, the PT_TLS segment of its shared object.
 * A switch saves the whole block and brings in the other's, so no variable can be missed. The saved blocks
 * are part of the world, and wound back with it.
 *
 * The stacks are not: between two schedules no thread is inside anything, but waits at the bottom of its
 * stack for work. One that was left in the middle, by a failure, is begun anew. */
#include <assert.h>
#include <elf.h>
#include <link.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "internal.h"

#define STACK_BYTES (256 << 10)
#define NOBODY MODEL_THREADS /* the place of who calls thread_call() */

static struct thread {
	jmp_buf place;
	ucontext_t first;
	char *stack;
	bool has_begun;
	int (*work)(unsigned thread);
	char *local; /* while another runs */
} threads[MODEL_THREADS + 1];

static unsigned running = NOBODY;

/* The library's block, of this kernel thread, and how it is for a new one. */
static struct {
	char *now;
	const char *image;
	size_t image_bytes, bytes;
	char *forked;
} local;

int model_thread(void)
{
	return running == NOBODY ? MODEL_NOBODY : (int)running;
}

/* ---- The library's memory --------------------------------------------------------------------- */

static void add_segment(const struct dl_phdr_info *module, const ElfW(Phdr) * segment)
{
	uintptr_t page = 4096, start = module->dlpi_addr + segment->p_vaddr, end = start + segment->p_memsz;

	if (segment->p_type == PT_LOAD && (segment->p_flags & PF_W)) {
		start &= ~(page - 1);
		end = (end + page - 1) & ~(page - 1);
		world_add((void *)start, end - start);
	} else if (segment->p_type == PT_TLS) {
		local.now = module->dlpi_tls_data;
		local.image = (const char *)start;
		local.image_bytes = segment->p_filesz;
		local.bytes = segment->p_memsz;
	}
}

static int look_at_module(struct dl_phdr_info *module, size_t bytes, void *library)
{
	(void)bytes;
	if (!strstr(module->dlpi_name, library))
		return 0;
	for (unsigned i = 0; i < module->dlpi_phnum; i++)
		add_segment(module, &module->dlpi_phdr[i]);
	return 1;
}

void thread_start(const char *library)
{
	int found = dl_iterate_phdr(look_at_module, (void *)(uintptr_t)library);

	assert(found && local.now);
	(void)found;
	for (unsigned i = 0; i <= NOBODY; i++)
		threads[i].local = model_new(local.bytes);
	local.forked = model_new(local.bytes);
	for (unsigned i = 0; i < NOBODY; i++) {
		threads[i].stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
		assert(threads[i].stack != MAP_FAILED);
	}
}

void thread_reset(void)
{
	assert(running == NOBODY);
	for (unsigned i = 0; i <= NOBODY; i++) {
		char *block = i == NOBODY ? local.now : threads[i].local;

		memcpy(block, local.image, local.image_bytes);
		memset(block + local.image_bytes, 0, local.bytes - local.image_bytes);
		threads[i].has_begun = false;
	}
}

void thread_keep(void)
{
	memcpy(threads[NOBODY].local, local.now, local.bytes);
}

void thread_rewind(void)
{
	memcpy(local.now, threads[NOBODY].local, local.bytes);
}

void thread_fork(void)
{
	memcpy(local.forked, local.now, local.bytes);
}

void thread_join(void)
{
	memcpy(local.now, local.forked, local.bytes);
}

/* ---- Switching -------------------------------------------------------------------------------- */

static void serve(void)
{
	for (;;) {
		int next = threads[running].work(running);
		thread_switch(next);
	}
}

/* _setjmp and _longjmp, as swapcontext() asks the kernel for the signal mask each time. */
static void go_on(struct thread *thread)
{
	if (thread->has_begun)
		_longjmp(thread->place, 1);
	thread->has_begun = true;
	getcontext(&thread->first);
	thread->first.uc_stack.ss_sp = thread->stack;
	thread->first.uc_stack.ss_size = STACK_BYTES;
	thread->first.uc_link = NULL;
	makecontext(&thread->first, serve, 0);
	setcontext(&thread->first);
}

void thread_switch(int to)
{
	unsigned from = running;

	running = to == MODEL_NOBODY ? NOBODY : (unsigned)to;
	if (running == from)
		return;
	memcpy(threads[from].local, local.now, local.bytes);
	memcpy(local.now, threads[running].local, local.bytes);
	if (_setjmp(threads[from].place) == 0)
		go_on(&threads[running]);
}

void thread_set_work(unsigned thread, int (*work)(unsigned thread))
{
	threads[thread].work = work;
}

void thread_call(int thread)
{
	assert(running == NOBODY);
	threads[NOBODY].has_begun = true;
	thread_switch(thread);
}

void thread_abandon(void)
{
	for (unsigned i = 0; i < NOBODY; i++)
		threads[i].has_begun = false;
	thread_switch(MODEL_NOBODY);
	__builtin_unreachable();
}
