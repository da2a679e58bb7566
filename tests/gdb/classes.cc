/* classes.cc - C++ objects to look at with gdb.
 * SPDX-License-Identifier: MIT */
#include <tether/tether.h>

namespace
{

struct Base {
	virtual ~Base() {}
	static int count;
	int number = 1;
	struct tether tether = {0, 0, 0, 0};
};

int Base::count;

struct Derived : Base {
	int more = 2;
};

const tether_type derived_type = TETHER_TYPE_AT("Derived", sizeof(Derived), 0, nullptr, nullptr, nullptr, nullptr, TETHER_LEAK,
                                                TETHER_LEVEL_DEFAULT, TETHER_NO_RULES);

__attribute__((noinline)) void stop_here(const Derived &object)
{
	__asm__ volatile("" ::"r"(&object));
}

} // namespace

int main()
{
	Derived object;

	tether_self_set_name("the main");
	tether_bind(&object.tether, &derived_type);
	tether_set_label(&object.tether, "an object");
	stop_here(object);
	tether_fini(&object.tether);
	return 0;
}
