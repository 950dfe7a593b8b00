/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a target once on each of the files that are given, or that are in the folders given: what
 * libFuzzer does with files, for compilers without it. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define SIZE_MAX_FILE ((size_t)1 << 20)

static unsigned n_files;

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "re");
	uint8_t *data, *exact;
	size_t size;

	if (!f) {
		perror(path);
		return 1;
	}
	data = malloc(SIZE_MAX_FILE);
	CHECK(data);
	size = fread(data, 1, SIZE_MAX_FILE, f);
	fclose(f);
	/* A read behind the input shall show under the sanitizers. */
	exact = malloc(size ? size : 1);
	CHECK(exact);
	memcpy(exact, data, size);
	free(data);
	/* Before it runs: where that crashes, this says on what. */
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	n_files++;
	return 0;
}

static int replay(const char *path)
{
	struct dirent **list = NULL;
	struct stat st;
	int n, failed = 0;

	if (stat(path, &st) < 0) {
		perror(path);
		return 1;
	}
	if (!S_ISDIR(st.st_mode))
		return replay_file(path);
	n = scandir(path, &list, NULL, alphasort);
	if (n < 0) {
		perror(path);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		char *file = NULL;

		if (list[i]->d_name[0] != '.') {
			CHECK(asprintf(&file, "%s/%s", path, list[i]->d_name) >= 0);
			failed |= replay_file(file);
		}
		free(file);
		free(list[i]);
	}
	free(list);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 0;

	/* Every target takes an empty input. */
	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		failed |= replay(argv[i]);
	printf("%u inputs\n", n_files);
	return failed || n_files == 0;
}
