export function isNewEnough(version?: string): boolean;
export function pinnedNode(): string | undefined;
export const tooOld: string;
