/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an OCI runtime sends to a seccomp profile's listenerPath: a ContainerProcessState of
 * the runtime specification (1.1), a JSON object whose "fds" name the fds that come with it. Pure.
 */
#pragma once

#include <stddef.h>

#define OCI_STATE_MAX (64 << 10)
#define OCI_STATE_DEPTH_MAX 64

/*
 * Is this one object, and the first of its "fds" "seccompFd"? 0; -EAGAIN: it is the beginning of an
 * object; -E2BIG: too large or too deep; -EBADMSG: no JSON, no object, or something behind it;
 * -ENOENT: an object with other fds or none; -ENOTUNIQ: with "fds" twice. What bytes above 0x7f
 * mean is not looked at.
 */
int oci_state_check(const char *text, size_t size);
