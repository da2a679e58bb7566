/* unloaded_test.cc - a module that contains the library is closed while threads still need it.
 * SPDX-License-Identifier: MIT */
#include "copy.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <semaphore.h>

#include <functional>
#include <thread>

namespace
{

std::function<void()> at_end;

struct object {
	struct tether tether;
};

/* A type of the program's, as those of a module do not outlive it. */
const tether_type object_type = TETHER_TYPE(object, tether, [](void *) { at_end(); });

TEST(Unloaded, ItsOwnersEndAllTheSame)
{
	void *module = dlopen(COPY_A, RTLD_NOW | RTLD_LOCAL);
	const copy *library;
	std::thread::id home, ended;
	object thing;
	sem_t bound, closed;

	ASSERT_NE(module, nullptr) << dlerror();
	library = static_cast<const copy *>(dlsym(module, "copy"));
	at_end = [&] { ended = std::this_thread::get_id(); };
	sem_init(&bound, 0, 0);
	sem_init(&closed, 0, 0);
	std::thread thread([&] {
		home = std::this_thread::get_id();
		library->bind(&thing.tether, &object_type);
		sem_post(&bound);
		sem_wait(&closed);
	}); /* its owner ends after this */
	sem_wait(&bound);
	EXPECT_EQ(library->drop(&thing.tether), TETHER_QUEUED);
	EXPECT_EQ(dlclose(module), 0);
	sem_post(&closed);
	thread.join();
	EXPECT_EQ(ended, home);
	sem_destroy(&bound);
	sem_destroy(&closed);
}

TEST(Unloaded, ItStaysAndIsTheSameWhenLoadedAgain)
{
	void *module = dlopen(COPY_A, RTLD_NOW | RTLD_LOCAL), *again;
	const copy *library;
	tether_owner_t self;

	ASSERT_NE(module, nullptr) << dlerror();
	library = static_cast<const copy *>(dlsym(module, "copy"));
	self = library->self();
	EXPECT_EQ(dlclose(module), 0);
	again = dlopen(COPY_A, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
	ASSERT_NE(again, nullptr) << "it was unloaded, and its pthread key points nowhere";
	EXPECT_EQ(static_cast<const copy *>(dlsym(again, "copy")), library);
	EXPECT_EQ(library->self(), self);
}

} // namespace
