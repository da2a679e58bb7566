/* no_memory_test.cc - a thread for which no owner can be made: reported, and nothing is lost.
 * SPDX-License-Identifier: MIT
 *
 * Linked with --wrap for each function that allocates, so that the library's calls come here. */
#include "../support.h"

#include <sys/mman.h>

#include <memory>

namespace
{

thread_local bool refuses;
thread_local size_t refused;

bool refuse()
{
	refused += refuses;
	return refuses;
}

} // namespace

extern "C" {
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);

void *__wrap_malloc(size_t size)
{
	return refuse() ? nullptr : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return refuse() ? nullptr : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return refuse() ? nullptr : __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
	return refuse() ? ENOMEM : __real_posix_memalign(out, alignment, size);
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return refuse() ? MAP_FAILED : __real_mmap(address, length, protection, flags, fd, offset);
}
}

namespace
{

class NoMemory : public Quiet
{
protected:
	static constexpr int more_than_any_chunk = 1100;

	/* On a new thread for which no owner can be made, while `others` keep every slot there is. */
	void without_owner(std::function<void()> work)
	{
		bool found = false;

		for (int i = 0; i < more_than_any_chunk && !found; i++) {
			others_.push_back(std::make_unique<Thread>());
			others_.back()->run([&] {
				refuses = true;
				found = tether_self() == 0;
				if (found)
					work();
				refuses = false;
			});
		}
		EXPECT_TRUE(found) << "memory for owners never ran out";
	}

private:
	std::vector<std::unique_ptr<Thread>> others_;
};

/* The first test, as the process has no owner yet. */
TEST_F(NoMemory, ForTheFirstOwnerOfAllIsReported)
{
	elsewhere([] {
		refuses = true;
		EXPECT_EQ(tether_self(), 0U);
		refuses = false;
		EXPECT_GT(refused, 0U) << "the fault is not there";
		EXPECT_NE(tether_self(), 0U) << "there is memory again";
	});
	EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NO_OWNER});
}

TEST_F(NoMemory, IsReportedEachTimeWithoutAnOwner)
{
	without_owner([&] {
		std::vector<Caught> caught = reports.take();

		ASSERT_EQ(caught.size(), 1U);
		EXPECT_EQ(caught[0].report.kind, TETHER_NO_OWNER);
		EXPECT_EQ(caught[0].report.caller, 0U);
		EXPECT_EQ(caught[0].report.caller_number, 0U);
		errno = 4242;
		EXPECT_EQ(tether_self(), 0U);
		EXPECT_EQ(errno, 4242);
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NO_OWNER});
	});
}

TEST_F(NoMemory, ForALogicalOwnerIsReported)
{
	static tether_owner_t owners[more_than_any_chunk];
	int made = 0, error = 0;

	without_owner([&] {
		reports.take();
		while (made < more_than_any_chunk && (error = tether_owner_create("one", &owners[made])) == 0)
			made++; /* what is left of the chunk */
		EXPECT_EQ(error, -ENOMEM);
		EXPECT_EQ(owners[made], 0U);
		EXPECT_EQ(tether_owner_enter(1), 0U);
		EXPECT_EQ(tether_owner_end(1), -ENOMEM);
		EXPECT_EQ(reports.take_kinds(), Kinds(3, TETHER_NO_OWNER)) << "nor has the thread one of its own";
	});
	while (made > 0)
		EXPECT_EQ(tether_owner_end(owners[--made]), 0);
}

TEST_F(NoMemory, ForABatchLeavesDropsToGoOutOneByOne)
{
	Thing things[2];

	for (Thing &thing : things)
		tether_bind(&thing.tether, &thing_type);
	elsewhere([&] {
		tether_self();
		refuses = true;
		EXPECT_EQ(tether_batch_begin(), -ENOMEM);
		EXPECT_EQ(tether_drop(&things[0].tether), TETHER_QUEUED);
		refuses = false;
		EXPECT_EQ(tether_batch_begin(), 0);
		refuses = true;
		EXPECT_EQ(tether_batch_begin(), 0);
		EXPECT_EQ(tether_drop(&things[1].tether), TETHER_BATCHED);
		tether_batch_end();
		tether_batch_end();
		refuses = false;
	});
	EXPECT_EQ(tether_drain(0), 2U);
}

TEST_F(NoMemory, LeavesObjectsUnbound)
{
	Thing thing;

	without_owner([&] {
		reports.take();
		tether_bind(&thing.tether, &thing_type);
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NO_OWNER});
		EXPECT_FALSE(tether_is_mine(&thing.tether));
		EXPECT_FALSE(tether_claim(&thing.tether));
		EXPECT_EQ(reports.take_kinds(), Kinds{TETHER_NO_OWNER});
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_HERE);
		EXPECT_TRUE(thing.ended_once_here());
	});
}

TEST_F(NoMemory, AnsweredByTheLoopFunctions)
{
	without_owner([&] {
		reports.take();
		EXPECT_EQ(tether_drain(0), 0U);
		EXPECT_FALSE(tether_park());
		tether_unpark();
		EXPECT_EQ(tether_fd(), -ENOMEM);
		EXPECT_EQ(tether_set_wake([](void *) {}, nullptr), -ENOMEM);
		tether_self_set_name("nobody");
		tether_owner_exit();
		for (enum tether_kind kind : reports.take_kinds())
			EXPECT_EQ(kind, TETHER_NO_OWNER);
	});
}

TEST_F(NoMemory, StopsNoDropAndNoMessage)
{
	Thing thing;
	Note note;
	tether_owner_t home = tether_self();

	tether_bind(&thing.tether, &thing_type);
	without_owner([&] {
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_QUEUED);
		EXPECT_EQ(tether_post(home, &note.message), 0);
		EXPECT_EQ(tether_drop(&thing.tether), TETHER_REFUSED);
	});
	reports.take();
	EXPECT_EQ(tether_drain(0), 2U);
	EXPECT_TRUE(thing.ended_once_here());
	EXPECT_TRUE(note.ran_once_on(pthread_self()));
}

TEST_F(NoMemory, StopsNoReport)
{
	Thing thing;

	tether_bind(&thing.tether, &thing_type);
	without_owner([&] {
		reports.take();
		refused = 0;
		EXPECT_FALSE(TETHER_ENSURE(&thing.tether));

		bool told = false;

		for (const Caught &caught : reports.take())
			told = told || (caught.report.kind == TETHER_WRONG_THREAD && caught.report.caller == 0);
		EXPECT_TRUE(told);
	});
	tether_fini(&thing.tether);
}

TEST_F(NoMemory, IsForgottenWhenThereIsSome)
{
	without_owner([&] {
		refuses = false;
		EXPECT_NE(tether_self(), 0U);
		reports.take();
	});
}

} // namespace
