/* internal.h - what the files of the explorer share.
 * SPDX-License-Identifier: MIT */
#ifndef TETHER_MODEL_INTERNAL_H
#define TETHER_MODEL_INTERNAL_H

#include "model.h"

#pragma GCC visibility push(hidden)

/* world.c */
void world_add(void *start, size_t bytes); /* whole pages */
void world_start(void);
void world_keep(void); /* how it is now is what it is wound back to */
void world_rewind(void);
void world_reset(void);                /* to how it was at the start */
bool world_has_written(void *address); /* a fault: was it the first write to a page? */
void world_fork(void);                 /* until world_join() another world is written to */
void world_join(void);

/* thread.c */
void thread_start(const char *library);
void thread_reset(void);                                             /* all are new */
void thread_set_work(unsigned thread, int (*work)(unsigned thread)); /* `work` returns who runs next */
void thread_call(int thread);                                        /* by nobody: until nobody runs again */
void thread_switch(int to);                                          /* MODEL_NOBODY: to who called thread_call */
_Noreturn void thread_abandon(void);                                 /* back to who called thread_call; all threads are new */
void thread_keep(void);                                              /* nobody's own part is wound back as well */
void thread_rewind(void);
void thread_fork(void); /* the running one's own part; it may not be switched away from until thread_join() */
void thread_join(void);

/* point.c */
void point_reset(void); /* no word is known to be shared */
void point_begin(unsigned threads, int interrupted, void (*handle)(void));
int point_first(void);            /* the thread that runs first */
int point_ended(unsigned thread); /* its run; the thread that runs next */
void point_stop(void);
void point_nap(void);         /* until another thread has written something */
void point_come(void);        /* others go on, and the thread may come in before each operation of theirs, shared or not */
void point_be_alone(bool on); /* nobody else is there: who waits waits for ever */
unsigned point_shared_words(void);

/* schedule.c */
/* Somebody's turn ends, or may end. */
struct schedule_turn {
	bool may_go_on; /* then it is the first of those who may go */
	unsigned count;
	int may_go[MODEL_THREADS];
};
int schedule_choose(const struct schedule_turn *turn);
bool schedule_is_replayed(void);
void schedule_step(const char *name, const char *function, int line); /* the running thread is about to make one */
void schedule_tell(const char *name, const char *function, int line); /* it makes one that nobody can come before */
__attribute__((format(printf, 1, 2))) void schedule_fail(const char *format, ...);

/* system.c */
void system_start(void);
bool system_blocks_signals(int thread);

#pragma GCC visibility pop

#endif
