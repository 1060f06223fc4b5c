import { makeCertificate, type Pair } from "../../../apiserver/certificate.ts";

const [notBefore, notAfter] = [new Date(Date.now() - 60_000), new Date(Date.now() + 3_600_000)];

export const makeAuthority = (name: string): Pair => makeCertificate({ subject: [["CN", name]], notBefore, notAfter, authority: undefined });
export const authority = makeAuthority("test authority");
export const certificateFor = (names: string[], options: { client?: boolean; authority?: Pair } = {}): Pair =>
  makeCertificate({ subject: [["CN", names[0]!]], notBefore, notAfter, authority: options.authority ?? authority, names, client: options.client ?? false });
