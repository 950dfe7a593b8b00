# SPDX-License-Identifier: LGPL-2.1-or-later
# Hands perf_event_open to cgmd in a seccomp profile, or in the profile of a bundle's config.json. Whatever
# other rules there were for it go: two rules for one system call contradict each other.
def perf:
	.listenerPath = "/run/cgmd/oci.sock"
	| .flags = ((.flags // []) + ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] | unique)
	| .syscalls = ([
		(.syscalls // [])[]
		| if has("names") then .names -= ["perf_event_open"] else . end
		| select(.names != [] and .name != "perf_event_open")
	] + [{"names": ["perf_event_open"], "action": "SCMP_ACT_NOTIFY"}]);

if has("ociVersion") then
	.linux.seccomp = (.linux.seccomp // {"defaultAction": "SCMP_ACT_ALLOW"} | perf)
else
	perf
end
