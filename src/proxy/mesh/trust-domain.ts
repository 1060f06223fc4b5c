/** Whose identities are believed. */
export const trustDomain = "cluster.local";
