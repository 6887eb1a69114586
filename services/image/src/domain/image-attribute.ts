/**
 * Whether an extended attribute is an image's or a container's own: users' attributes, file capabilities, access lists. Not
 * overlayfs's, the host's labels, or what a file system has of its own (`system.nfs4_acl`).
 */
export function isImageAttribute(name: string): boolean {
  return name.startsWith('user.') || name === 'security.capability' || name.startsWith('system.posix_acl_');
}
