/* drop_qt.cc - Qt's deleteLater(), as each QObject has it.
 * SPDX-License-Identifier: MIT
 *
 * Our objects cannot be QObjects, so each has one, which the owner makes with it; its destructor is the one that is timed. */
#include <QCoreApplication>
#include <QObject>

#include "drop.h"

class Twin : public QObject
{
public:
	explicit Twin(object *of) : of_(of) {}
	~Twin() override { object_destroy(of_); }
	Twin(const Twin &) = delete;
	Twin &operator=(const Twin &) = delete;

private:
	object *of_;
};

static Twin **twins; /* by their objects' places */

static void init(size_t heap_size)
{
	static int argc = 1;
	static char name[] = "bench", *argv[] = {name, nullptr};

	twins = new Twin *[heap_size];
	new QCoreApplication(argc, argv); /* as long as the process: objects belong to its thread */
}

static void revive(object **objects, size_t count)
{
	objects_revive(objects, count);
	for (size_t i = 0; i < count; i++)
		twins[objects[i]->value] = new Twin(objects[i]);
}

static void push(const share *mine)
{
	for (size_t i = 0; i < mine->count; i++)
		if (share_admits(mine, mine->objects[i]))
			twins[mine->objects[i]->value]->deleteLater();
}

static void drain()
{
	QCoreApplication::sendPostedEvents(nullptr, QEvent::DeferredDelete);
}

static drop_peer peer = {"qt-deletelater", BARE | WHOLE, init, revive, push, drain, nullptr, false, false, false, nullptr};

__attribute__((constructor)) static void add()
{
	drop_peer_add(&peer);
}
