// Runs an OCI bundle.
export {};
