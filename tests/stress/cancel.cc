/* cancel.cc - producers that are cancelled at random: no drop is cut off, no wake-up and no node is lost.
 * SPDX-License-Identifier: MIT
 *
 * A cancelled thread ends at its next cancellation point. The producers have one between two drops; had
 * the library one as well, a drop would begin and not return, with its wake-up unmade. */
#include "stress.h"

#include <tether/tether.h>

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <memory>

using stress::Random;
using stress::spin;

namespace
{

constexpr unsigned producers = 3;
constexpr unsigned items_per_producer = 200;
constexpr int patience_ms = 2000;

struct Item {
	unsigned destroyed; /* written by its destructor */
	struct tether tag;
};

unsigned handled; /* by the owner */

void item_destroy(void *pointer)
{
	MUST(++static_cast<Item *>(pointer)->destroyed == 1);
	handled++;
}

/* Its owner is gone, so this runs in the thread that drops. */
void orphan_destroy(void *pointer)
{
	pthread_testcancel();
	MUST(++static_cast<Item *>(pointer)->destroyed == 1);
}

const struct tether_type item_type = TETHER_TYPE(Item, tag, item_destroy);
const struct tether_type orphan_type = TETHER_TYPE_POLICY(Item, tag, orphan_destroy, TETHER_ANYWHERE, TETHER_COUNT);

struct Producer {
	pthread_t thread;
	/* Read when the thread has been joined. */
	unsigned begun, returned;
	std::array<Item, items_per_producer> items;
	Item orphan;
};

void *produce(void *argument)
{
	Producer *producer = static_cast<Producer *>(argument);

	MUST(tether_drop(&producer->orphan.tag) == TETHER_ORPHANED);
	for (Item &item : producer->items) {
		producer->begun++;
		MUST(tether_drop(&item.tag) == TETHER_QUEUED);
		producer->returned++;
		pthread_testcancel();
		spin(500);
	}
	return nullptr;
}

/* What an owner sleeps on. */
class Bed
{
public:
	virtual ~Bed() = default;
	virtual bool is_woken(int timeout_ms) = 0;
};

class Descriptor : public Bed
{
public:
	bool is_woken(int timeout_ms) override { return stress::is_readable(fd_, timeout_ms); }

private:
	const int fd_ = tether_fd();
};

/* Its wake-up is a cancellation point. */
class OwnWakeUp : public Bed
{
public:
	OwnWakeUp()
	{
		MUST(pipe(ends_) == 0);
		MUST(tether_set_wake(wake, this) == 0);
	}
	~OwnWakeUp() override
	{
		tether_set_wake(nullptr, nullptr);
		close(ends_[0]);
		close(ends_[1]);
	}
	OwnWakeUp(const OwnWakeUp &) = delete;
	OwnWakeUp &operator=(const OwnWakeUp &) = delete;

	bool is_woken(int timeout_ms) override
	{
		char byte;

		if (!stress::is_readable(ends_[0], timeout_ms))
			return false;
		MUST(read(ends_[0], &byte, 1) == 1);
		return true;
	}

private:
	static void wake(void *context)
	{
		pthread_testcancel();
		MUST(write(static_cast<OwnWakeUp *>(context)->ends_[1], "", 1) == 1);
	}

	int ends_[2];
};

class Shift
{
public:
	explicit Shift(Bed &bed) : bed_(bed) { tether_message_init(&joined_.message, all_are_joined); }

	void run(unsigned round)
	{
		handled = 0;
		begin();
		std::thread canceller([this, round] { cancel(round); });
		while (!joined_.has_come)
			turn();
		canceller.join();
		judge();
	}

private:
	struct Joined {
		struct tether_message message;
		bool has_come; /* owner only */
	};

	static void all_are_joined(struct tether_message *message, enum tether_fate fate)
	{
		MUST(fate == TETHER_RUN);
		reinterpret_cast<Joined *>(message)->has_come = true; /* its first member */
	}

	void begin()
	{
		joined_.has_come = false;
		std::thread([this] {
			for (Producer &producer : producers_)
				tether_bind(&producer.orphan.tag, &orphan_type);
		}).join();
		for (Producer &producer : producers_) {
			producer.begun = producer.returned = 0;
			producer.orphan.destroyed = 0;
			for (Item &item : producer.items) {
				item.destroyed = 0;
				tether_bind(&item.tag, &item_type);
			}
		}
	}

	void cancel(unsigned round)
	{
		Random random(round);

		for (Producer &producer : producers_)
			MUST(pthread_create(&producer.thread, nullptr, produce, &producer) == 0);
		for (Producer &producer : producers_) {
			spin(random.below(30000));
			pthread_cancel(producer.thread);
		}
		for (Producer &producer : producers_)
			pthread_join(producer.thread, nullptr);
		MUST(tether_post(owner_, &joined_.message) == 0);
		posted_ = round + 1;
	}

	/* The message comes after all drops; if it has been posted and nothing wakes us, a wake-up is lost. */
	void turn()
	{
		if (tether_park()) {
			while (!bed_.is_woken(patience_ms)) {
				bool wake_up_is_lost = posted_ > rounds_ && !bed_.is_woken(0);

				MUST(!wake_up_is_lost);
			}
		}
		tether_unpark();
		tether_drain(0);
	}

	void judge()
	{
		unsigned returned = 0;

		rounds_++;
		for (Producer &producer : producers_) {
			MUST(producer.begun == producer.returned);
			MUST(producer.orphan.destroyed == (producer.begun > 0));
			returned += producer.returned;
			for (unsigned i = 0; i < items_per_producer; i++) {
				Item &item = producer.items[i];

				MUST(item.destroyed == (i < producer.returned));
				if (i >= producer.returned)
					tether_fini(&item.tag);
			}
		}
		MUST(handled == returned);
	}

	Bed &bed_;
	const tether_owner_t owner_ = tether_self();
	Joined joined_;
	std::array<Producer, producers> producers_;
	std::atomic<unsigned> posted_{0};
	unsigned rounds_ = 0; /* owner only */
};

template <typename BedType>
void work()
{
	std::thread([] {
		const unsigned rounds = stress::scaled(2500);
		BedType bed;
		auto shift = std::make_unique<Shift>(bed);

		for (unsigned round = 0; round < rounds; round++) {
			stress::at("producers that are cancelled", round);
			shift->run(round);
		}
	}).join();
}

TEST(Cancel, NoDropIsCutOff)
{
	work<Descriptor>();
}

TEST(Cancel, OwnWakeUpIsNotCutOff)
{
	work<OwnWakeUp>();
}

} // namespace
