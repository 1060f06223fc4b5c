/** Our provisioner and, as the driver of what it made, our snapshotter. */
export const driverName = "wherry.dev/local";
export const provisionedByAnnotation = "pv.kubernetes.io/provisioned-by";
export const volumeProtection = "kubernetes.io/pv-protection";
