/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What there is to know, from inside a container, about whether an event may be opened; and what
 * follows from it: which layer refuses, and what would mend it. perf-probe.c finds out,
 * perf-judge.c asks nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "credentials.h"
#include "perf-event.h"

#define ATTEMPTS_MAX 8
#define TEXT_FOUND_MAX 512

enum attempt_target {
	TARGET_OWN, /* the process itself, on any CPU */
	TARGET_CPU, /* all processes, on one CPU */
};

/* One call of perf_event_open(2). */
struct attempt {
	char name[2 * EVENT_NAME_MAX + 8]; /* as it was asked for */
	struct event event;
	enum attempt_target target;
	int cpu;
	bool optional; /* its program goes on without it */
	int lookup; /* 0; -ENOENT: sysfs or tracefs has no such thing; else why it cannot be read */
	/* 0 or a negative errno; what cannot be looked up is not tried. -ETIMEDOUT: nobody answered
	 */
	int result;
	bool user_only; /* it was opened without the kernel's side, after that had been refused */
	bool through_cgmd; /* it can be opened as cgm perf run would have it */
};

enum daemon_state {
	DAEMON_THERE,
	DAEMON_ABSENT, /* no socket, or nobody listens there */
	DAEMON_MUTE,   /* it cannot be spoken to: see daemon_text */
};

enum grant_state { GRANT_UNKNOWN, GRANT_GIVEN, GRANT_MISSING };

enum file_caps { FILE_CAPS_NONE, FILE_CAPS_OURS, FILE_CAPS_FOREIGN };

struct findings {
	unsigned n;
	struct attempt attempts[ATTEMPTS_MAX];
	/* A call that cannot succeed, by its flags: -EINVAL, unless a seccomp filter answers */
	int flags_probe;
	/* One whose attr is at NULL: -EFAULT, unless an LSM or paranoid 3 refuses everything */
	int memory_probe;
	int paranoid_error; /* 0 or a negative errno; -ENOENT: the kernel has no perf events */
	int paranoid;
	struct credentials credentials;
	/* Of the program, if one was named and found. */
	char program[TEXT_FOUND_MAX];
	enum file_caps file_caps;
	uint64_t file_permitted;
	uint32_t file_root; /* the rootid; 0: none, or that of this user namespace */
	char label[128];    /* of the LSM: "lxc-c1 (enforce)", "" */
	char lsms[128];	    /* "lockdown,capability,bpf", "": cannot be seen */
	bool trapped;	    /* a filter hands system calls to a listener */
	bool container;	    /* not the host's own namespaces */
	bool oci;	    /* podman's, docker's */
	enum daemon_state daemon;
	char daemon_text[TEXT_FOUND_MAX]; /* its address, or what is wrong with it */
	char run_text[TEXT_FOUND_MAX];	  /* why cgm perf run does not run; "": it would, or was not
					     tried */
	/* Of the first attempt that fails, else of the first. */
	char item[EVENT_ITEM_MAX];
	enum grant_state grant;
	char grant_text[TEXT_FOUND_MAX];
	char cgroup[TEXT_FOUND_MAX]; /* our own as the host names it, "": cannot be seen from here
				      */
};

enum layer_state {
	LAYER_PASSES,
	LAYER_REFUSES,
	LAYER_UNKNOWN,
	LAYER_UNUSED, /* it works without */
};

#define LAYERS_MAX (ATTEMPTS_MAX + 10)

struct layer {
	const char *name;
	enum layer_state state;
	char why[TEXT_FOUND_MAX];
};

struct explanation {
	enum layer_state verdict; /* may everything be opened that is needed? */
	unsigned n;
	struct layer layers[LAYERS_MAX];
	char command[TEXT_FOUND_MAX]; /* "": there is none, or none is needed */
	char who[TEXT_FOUND_MAX];     /* must run it; or what is to be done in its place */
};

/* Finds out all that `f` does not say yet, for its attempts. `inv`: for the daemon's address. */
struct invocation;
int findings_gather(struct findings *f, const struct invocation *inv);

void findings_judge(const struct findings *f, struct explanation *ret);
