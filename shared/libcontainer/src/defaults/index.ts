// Rules without side effects: what a container has when its user says nothing. For whoever writes a config.json.
export {
  allCapabilities,
  applyCapabilityChanges,
  type CapabilityChanges,
  capabilityMask,
  defaultCapabilities,
  parseCapability,
  toCapabilitySets,
} from './capabilities.ts';
export { defaultDeviceRules, defaultDevices, privilegedDeviceRules } from './devices.ts';
export {
  type DefaultMountOptions,
  defaultMaskedPaths,
  defaultMounts,
  defaultMountsFor,
  defaultReadonlyPaths,
} from './mounts.ts';
export { defaultSeccompProfile } from './seccomp-profile.ts';
