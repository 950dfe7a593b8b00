/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS_MAX 64

int need(int r, const char *what)
{
	if (r >= 0)
		return r;
	fprintf(stderr, "bench: %s: %s\n", what, strerror(-r));
	exit(1);
}

int need_errno(int r, const char *what)
{
	return need(r < 0 ? -errno : r, what);
}

double now_usec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void compare(const char *label, const struct side *a, const struct side *b, unsigned rounds,
	unsigned n, double aim)
{
	double of_a[ROUNDS_MAX], of_b[ROUNDS_MAX], quotient[ROUNDS_MAX];
	double median_a, median_b, ratio;

	if (rounds > ROUNDS_MAX)
		rounds = ROUNDS_MAX;
	(void)a->run(a->userdata, n / 10 + 1);
	(void)b->run(b->userdata, n / 10 + 1);
	for (unsigned i = 0; i < rounds; i++) {
		if (i % 2)
			of_b[i] = b->run(b->userdata, n);
		of_a[i] = a->run(a->userdata, n);
		if (i % 2 == 0)
			of_b[i] = b->run(b->userdata, n);
		quotient[i] = of_a[i] / of_b[i];
	}
	median_a = median(of_a, rounds);
	median_b = median(of_b, rounds);
	ratio = median(quotient, rounds);
	printf("%s: %s %.1f us, %s %.1f us, ratio %.2f (%.2f to %.2f)", label, a->name, median_a,
		b->name, median_b, ratio, quotient[0], quotient[rounds - 1]);
	if (aim > 0)
		printf(", aim %.1f", aim);
	printf("; the fastest %.1f and %.1f us\n", of_a[0], of_b[0]);
	fflush(stdout);
}
