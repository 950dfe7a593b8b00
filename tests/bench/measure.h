/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once
/*
 * Comparing two ways of doing something on a machine that does other things besides: in blocks that
 * take turns, by medians. Prints; judges nothing.
 */
#include <stddef.h>

/* Ends the benchmark with a message if r is a negative errno. */
int need(int r, const char *what);
/* The same of a libc call that sets errno. */
int need_errno(int r, const char *what);

double now_usec(void);
/* Of n values, which it sorts. */
double median(double *values, size_t n);

/* What is measured: runs n times and returns the microseconds that one took. */
struct side {
	const char *name;
	double (*run)(void *userdata, unsigned n);
	void *userdata;
};

/*
 * `rounds` pairs of blocks of n runs, whose order alternates. Prints both medians and the median of
 * the pairs' quotients, `aim` beside it unless that is 0.
 */
void compare(const char *label, const struct side *a, const struct side *b, unsigned rounds,
	unsigned n, double aim);
