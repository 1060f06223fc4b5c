export const isInstalled: boolean;
export const bundles: string;
export function bundleOf(command: string | undefined): string | undefined;
export function bundleNamed(name: string): string | undefined;
