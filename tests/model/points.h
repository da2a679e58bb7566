/* points.h - what the library is compiled with for the explorer: each atomic operation becomes a point.
 * SPDX-License-Identifier: MIT
 *
 * Included before everything else (gcc's -include), so that lib/ is as it is. A point comes before its
 * operation, and after its operands were computed: what these contain has points of its own.
 *
 *     atomic_load_explicit(&slot->head, order)  -->  model_point(LOAD, &slot->head), then the load
 *     pthread_mutex_lock, sched_yield, write, ...  -->  system.c
 *
 * An atomic operation that is not here may not be used: the compiler refuses its name. */
#ifndef TETHER_MODEL_POINTS_H
#define TETHER_MODEL_POINTS_H

#define __assert_fail model_assert_fail

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#ifndef __cplusplus
#include <stdatomic.h>
#endif

#include "model.h"

/* Fewer, so that three drops are enough for a batch that marks the oldest; see batch.h. */
#define TETHERI_LATE 2
#define TETHERI_AT_ONCE 1

#define MODEL_POINT_(kind, name) model_point(kind, word_, sizeof *word_, name, __func__, __LINE__)
#ifdef __cplusplus
#define MODEL_AUTO_ auto
#else
#define MODEL_AUTO_ __auto_type
#endif

#define MODEL_READ_(word, operation) \
	__extension__({ \
		MODEL_AUTO_ word_ = (word); \
		MODEL_POINT_(MODEL_LOAD, #word); \
		operation; \
	})
/* The comma makes it a value: of an array its address, and without qualifiers. */
#define MODEL_WRITE_(kind, word, value, operation) \
	__extension__({ \
		MODEL_AUTO_ word_ = (word); \
		__typeof__(((void)0, (value))) value_ = (value); \
		MODEL_POINT_(kind, #word); \
		operation; \
	})
#define __atomic_load_n(word, order) MODEL_READ_(word, __atomic_load_n(word_, order))
#define __atomic_store_n(word, value, order) MODEL_WRITE_(MODEL_STORE, word, value, __atomic_store_n(word_, value_, order))
#define __atomic_exchange_n(word, value, order) MODEL_WRITE_(MODEL_RMW, word, value, __atomic_exchange_n(word_, value_, order))
#define __atomic_compare_exchange_n(word, expected, value, is_weak, success, failure) \
	__extension__({ \
		MODEL_AUTO_ expected_ = (expected); \
		MODEL_WRITE_(MODEL_RMW, word, value, __atomic_compare_exchange_n(word_, expected_, value_, is_weak, success, failure)); \
	})
#define __atomic_fetch_add(word, value, order) MODEL_WRITE_(MODEL_RMW, word, value, __atomic_fetch_add(word_, value_, order))
#define __atomic_fetch_sub(word, value, order) MODEL_WRITE_(MODEL_RMW, word, value, __atomic_fetch_sub(word_, value_, order))
#define __atomic_add_fetch(word, value, order) MODEL_WRITE_(MODEL_RMW, word, value, __atomic_add_fetch(word_, value_, order))
#define __atomic_sub_fetch(word, value, order) MODEL_WRITE_(MODEL_RMW, word, value, __atomic_sub_fetch(word_, value_, order))
#define __atomic_fetch_or(word, value, order) MODEL_WRITE_(MODEL_RMW, word, value, __atomic_fetch_or(word_, value_, order))
#define __atomic_fetch_xor(word, value, order) MODEL_WRITE_(MODEL_RMW, word, value, __atomic_fetch_xor(word_, value_, order))
#define __atomic_fetch_and(word, value, order) MODEL_WRITE_(MODEL_RMW, word, value, __atomic_fetch_and(word_, value_, order))

#ifndef __cplusplus
/* A signal may come here; nobody else can tell. */
#undef atomic_signal_fence
#define atomic_signal_fence(order) (model_fence(__func__, __LINE__), __atomic_signal_fence(order))
#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and_explicit
#undef atomic_fetch_xor_explicit
#define atomic_load_explicit(word, order) __atomic_load_n(word, order)
#define atomic_store_explicit(word, value, order) __atomic_store_n(word, value, order)
#define atomic_exchange_explicit(word, value, order) __atomic_exchange_n(word, value, order)
#define atomic_compare_exchange_strong_explicit(word, expected, value, success, failure) \
	__atomic_compare_exchange_n(word, expected, value, 0, success, failure)
#define atomic_compare_exchange_weak_explicit(word, expected, value, success, failure) \
	__atomic_compare_exchange_n(word, expected, value, 1, success, failure)
#define atomic_fetch_add_explicit(word, value, order) __atomic_fetch_add(word, value, order)
#define atomic_fetch_sub_explicit(word, value, order) __atomic_fetch_sub(word, value, order)
#define atomic_fetch_or_explicit(word, value, order) __atomic_fetch_or(word, value, order)
#define atomic_fetch_and_explicit(word, value, order) __atomic_fetch_and(word, value, order)
#define atomic_fetch_xor_explicit(word, value, order) __atomic_fetch_xor(word, value, order)

#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_or
#undef atomic_fetch_and
#undef atomic_fetch_xor
#undef atomic_flag_test_and_set
#undef atomic_flag_test_and_set_explicit
#undef atomic_thread_fence
#pragma GCC poison atomic_load atomic_store atomic_exchange atomic_compare_exchange_strong atomic_compare_exchange_weak
#pragma GCC poison atomic_fetch_add atomic_fetch_sub atomic_fetch_or atomic_fetch_and atomic_fetch_xor
#pragma GCC poison atomic_flag_test_and_set atomic_flag_test_and_set_explicit atomic_thread_fence
#pragma GCC poison __atomic_load __atomic_store __atomic_exchange __atomic_compare_exchange __atomic_test_and_set __atomic_clear
#pragma GCC poison __atomic_fetch_nand __atomic_or_fetch
#pragma GCC poison __atomic_and_fetch __atomic_xor_fetch __atomic_nand_fetch __atomic_thread_fence
#pragma GCC poison __sync_fetch_and_add __sync_fetch_and_sub __sync_bool_compare_and_swap __sync_val_compare_and_swap
#pragma GCC poison __sync_lock_test_and_set __sync_lock_release __sync_synchronize

#define pthread_mutex_lock model_mutex_lock
#define pthread_mutex_trylock model_mutex_trylock
#define pthread_mutex_unlock model_mutex_unlock
#define pthread_key_create model_key_create
#define pthread_setspecific model_setspecific
#define pthread_setcancelstate model_setcancelstate
#define pthread_atfork model_atfork
#define pthread_getattr_np model_getattr
#define __cxa_thread_atexit_impl model_thread_atexit
#define sched_yield model_sched_yield
#define clock_gettime model_clock_gettime
#define posix_memalign model_memalign
#define malloc(bytes) model_malloc(bytes)
#define free(memory) model_free(memory)
#define atexit model_atexit
#define mmap model_mmap
#define munmap model_munmap
#define close(fd) model_close(fd)
#define syscall model_syscall
#endif

#endif
