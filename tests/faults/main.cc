/* main.cc - runs a fault test; where none of it can be had here, says so: SKIP, 77.
 * SPDX-License-Identifier: MIT */
#include <gtest/gtest.h>

int main(int argc, char **argv)
{
	testing::InitGoogleTest(&argc, argv);
	if (RUN_ALL_TESTS() != 0)
		return 1;

	const testing::UnitTest &all = *testing::UnitTest::GetInstance();

	return all.skipped_test_count() == all.test_to_run_count() ? 77 : 0;
}
