import { readHierarchies } from '../cgroup/hierarchies.ts';
import { defaultCapabilities } from '../defaults/capabilities.ts';
import { defaultSeccompProfile } from '../defaults/seccomp-profile.ts';
import { seccompFilter } from '../seccomp-filter.ts';

/**
 * Does what every container needs and none should wait for: call it before the template is forked. Nothing is loaded
 * later, above all not in a container's root (CVE-2019-14271).
 */
export function preloadRuntime(): void {
  readHierarchies();
  seccompFilter(defaultSeccompProfile(defaultCapabilities));
}
