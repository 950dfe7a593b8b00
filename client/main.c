/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cgm.h"

int main(int argc, char **argv)
{
	return cgm_run(argc, argv);
}
