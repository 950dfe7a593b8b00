/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sanitizers make system calls that a zygote's filter does not let pass. */
#pragma once

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__)
#	define CONFINE false
#elif defined(__has_feature)
#	if __has_feature(address_sanitizer)
#		define CONFINE false
#	endif
#endif
#ifndef CONFINE
#	define CONFINE true
#endif
