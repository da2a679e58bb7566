/* enter.c - make so many owners, and enter and leave ten of them so many times: enter OWNERS ROUNDS
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include <tether/tether.h>

#define FEW 10

int main(int count, char **arguments)
{
	int owners = count == 3 ? atoi(arguments[1]) : 0, rounds = count == 3 ? atoi(arguments[2]) : 0;
	tether_owner_t few[FEW], owner;

	for (int i = 0; i < owners; i++) {
		if (tether_owner_create("one of many", &owner) != 0)
			return 1;
		few[i / (owners / FEW)] = owner;
	}
	for (int round = 0; round < rounds; round++)
		for (int i = 0; i < FEW; i++)
			tether_owner_leave(tether_owner_enter(few[i]));
	return 0;
}
