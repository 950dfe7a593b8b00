/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decision: one pure function of what is asked and what is known. No system call, no
 * allocation, no log, no clock. DESIGN's authority rules live here and nowhere else.
 *
 * A verdict is REASON_OK, or a reason, or a request for more facts (`need` is not 0, and the reason
 * is INTERNAL): the daemon then gathers these and asks again with the same question. It never asks
 * for a fact that is there, and which facts were known when it was asked never changes the final
 * verdict.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "reason.h"
#include "key.h"
#include "subject.h"

enum action {
	ACTION_NONE, /* Ping, ListControllers: nothing to judge */
	ACTION_CREATE,
	ACTION_CHOWN,
	ACTION_CHMOD,
	ACTION_LOCATE, /* GetPidCgroup, GetPidCgroupAbs */
	ACTION_MOVE,
	ACTION_READ,  /* a file's text */
	ACTION_LIMIT, /* SetValue */
	ACTION_REMOVE,
	ACTION_TASKS,	/* GetTasks, GetTasksRecursive */
	ACTION_LIST,	/* ListChildren, ListKeys */
	ACTION_RELEASE, /* RemoveOnEmpty */
	ACTION_PRUNE,
	ACTION_DEVICES,	     /* SetDevices, AllowDevices, DenyDevices, AddDevice, RemoveDevice */
	ACTION_DEVICES_READ, /* ListDevices, CheckDevice */
	ACTION_DEVICE_NAMES, /* ResolveDevice, ListGpus; the target is the requestor's own cgroup */
	ACTION_PERF,	     /* GrantPerf, RevokePerf */
	ACTION_PERF_READ,    /* ListPerf, CheckPerf */
	/* OpenPerfEvent, AttachPerfListener, ShowPerf; the target is the requestor's own cgroup */
	ACTION_PERF_OPEN,
	ACTION_MAX,
};

/*
 * Where the target lies. The daemon opened every cgroup from the requestor's base down to the
 * target, one from the other, and these are their fstat()s in that order.
 */
struct place {
	unsigned have;		/* FACT_SCOPE, FACT_PARENT */
	const struct node *way; /* way[0] is the base, way[n - 1] the deepest that exists */
	unsigned n;		/* at least 1 */
	unsigned missing; /* components of the path that do not exist; 0: the target is way[n-1] */
	unsigned depth;	  /* components from the hierarchy's root to the target, missing ones too */
	/* way[0] is the requestor's own cgroup, or else known to lie in its scope. Then FACT_SCOPE
	 * is only asked for where the scope's root is in question; without it, always. */
	bool base_in_scope;
	bool base_is_top; /* way[0] is the hierarchy's root */
	/* FACT_SCOPE */
	bool in_scope; /* the target is the scope's root or below it */
	bool is_scope_root;
	/* FACT_PARENT, only asked for where n is 1; not set for the hierarchy's root, which
	 * has_parent tells */
	bool has_parent;
	struct node parent;
};

enum domain {
	DOMAIN_PLAIN,
	DOMAIN_THREAD_ROOT, /* "domain threaded" */
	DOMAIN_THREADED,
	DOMAIN_INVALID,
};

/* A cgroup of v2 on the way to a new one: cgroup.controllers, cgroup.subtree_control, cgroup.type.
 */
struct level {
	struct node node;
	unsigned has, gives;
	enum domain domain;
	bool systemd; /* see inspect_systemd() */
};

/* Create on v2: the controllers that the new cgroup shall have. */
struct enabling {
	unsigned wanted; /* a set, see controller.h; 0: none has to be enabled */
	bool optional;	 /* "all": what cannot be had is left out */
	/* FACT_LEVELS: the cgroups from the parent of the target upwards that do not give all of
	 * them to their children, topmost first. The topmost has all, or lies at the scope's root
	 * (of what is optional: at the base); no other has. */
	unsigned have;
	const struct level *levels;
	unsigned n;
};

/* What device programs there are in one cgroup, and whether they allow what shall be allowed. On v1
 * the kernel's own rules count as cgmd's. */
struct device_level {
	/* What is attached would stay in force if something were attached below, or beside it. */
	bool flags_ok;
	enum tri ours;	 /* cgmd's policy; YES also where there is none */
	enum tri others; /* all other programs */
};

struct facts {
	const struct subject *subject;
	const struct place *place;
	const struct node *file; /* READ, TASKS, CHMOD with a file: the key's file */
	unsigned more_files;	 /* READ: so many more behind it, read for the same answer */
	/* READ, LIMIT: what is amiss with the key's files there (KEY_MISSING, KEY_OFF), or OK */
	enum reason key;
	/* MOVE, LOCATE */
	const struct victim *victim;
	bool victim_in_scope;	  /* valid with FACT_SCOPE in place->have */
	bool victim_below;	  /* LOCATE relative: the victim's cgroup is the base or below it */
	bool target_below_victim; /* MOVE: the target is the victim's present cgroup or below it */
	unsigned have;		  /* FACT_ANCESTOR, FACT_SYSTEMD, FACT_DEVICES, FACT_GRANT */
	bool ancestor_in_scope;
	/* the nearest common ancestor of the victim's cgroup and the target */
	struct node ancestor;
	/* On v1 whoever may write to a directory renames in it, so paths that were read at
	 * different moments may not belong together. These are the cgroups from the scope's root to
	 * the nearest common ancestor; none on v2. */
	bool names_may_change;
	const struct node *levels;
	unsigned n_levels;
	struct enabling enabling; /* CREATE */
	bool v2;		  /* what the hierarchy is */
	bool by_systemd;	  /* FACT_SYSTEMD, only asked for on v2 */
	/* DEVICES, FACT_DEVICES: the cgroups from the hierarchy's root down to the target, and that
	 * with what others have attached to it alone */
	const struct device_level *devices;
	unsigned n_devices;
	bool granted; /* FACT_GRANT: a section of the policy file names it */
};

struct question {
	enum action action;
	/* LIMIT, READ, CHMOD with a file: its row or NULL. LIMIT of a key that stands for other
	 * files: the strictest of theirs. */
	const struct key *key;
	bool device;	   /* LIMIT: the value names a device by a path */
	bool has_file;	   /* CHMOD: a file is named, not the directory */
	uint32_t uid, gid; /* CHOWN: as the requestor's namespace has them; UINT32_MAX: unchanged */
	bool host_ids; /* ... or as the host has them, each mapped or refused; never unchanged */
	bool absolute; /* LOCATE: relative to the scope, not to the requestor's cgroup */
	unsigned max_depth; /* CREATE */
	bool clears;	    /* DEVICES: cgmd's rules go; nothing is attached and nothing allowed */
	bool grantable;	    /* DEVICES: what the policy file may grant: AllowDevices, AddDevice */
	bool gives_node;    /* DEVICES: AddDevice, whose node opens the device by itself */
};

struct verdict {
	enum reason reason;
	unsigned need;
	unsigned controllers; /* CREATE that is granted: those to enable; what was wanted or less */
	unsigned level;	      /* LEVEL_*, DEVICE_*: the index of the one at fault */
	/* DEVICES that is granted: cgmd's rules on the way are to follow. PERF: the cgroup may be
	 * given what is not above. */
	bool widens;
};

struct verdict decide(const struct question *q, const struct facts *f);

/*
 * May the one who connected speak for another process, which it named by SCM_CREDENTIALS over a
 * socket that it passed? Who may is root in its user namespace with CAP_SYS_ADMIN, as the kernel
 * wants it of whoever sends another's pid, or host root; the process lives in that user namespace
 * or below, is visible in its pid namespace, and has ids that are mapped there. That the ids are
 * the process' real ones was settled when it was looked at; that its cgroup lies in the scope, for
 * each hierarchy, when that was.
 */
struct speech {
	const struct subject *proxy;
	uid_t uid; /* the other's, as the host has them */
	gid_t gid;
	bool visible;
	unsigned have;	   /* FACT_VICTIM_NS */
	bool below_userns; /* the other's user namespace is the proxy's or below */
};

struct verdict decide_speech(const struct speech *s);

/*
 * The requestor's scope in one hierarchy. chain[n - 1] is the requestor's own cgroup, each before
 * it the parent of the next; chain[0] is the hierarchy's root if `whole`, else ancestors are
 * missing above it. root_id is the id of the root of its cgroup namespace (FACT_ROOT in have; 0 if
 * that namespace is the daemon's own or its root could not be told). Gives the index of the scope's
 * root in chain, or -1 and *need, FACT_CHAIN among it: a longer chain.
 *
 * Host root: the hierarchy's root. The cgroup namespace's root if it is in the chain and not the
 * hierarchy's root. Else the topmost of the unbroken run of cgroups, from its own upward, over
 * which it has privilege; but for uid 0 that is not host root only its own cgroup, for what root
 * owns is the host's. Else its own.
 */
int scope_decide(const struct subject *s, const struct node *chain, unsigned n, bool whole,
	unsigned have, uint64_t root_id, unsigned *need);
