import type { HeaderChange, PathChange } from "./traffic.ts";
import type { TextMatch } from "./traffic-listeners.ts";

/** Filters of answers, and of bodies as a whole. */
export type AnswerFilterConfig = BandwidthFilter | UpgradesFilter | CompressFilter | CredentialFilter | OverrideFilter | RequestBufferFilter;

export interface CompressFilter {
  type: "compress";
  /** The preferred first, where a client takes several alike. */
  encodings: { name: "gzip" | "br" | "zstd"; /** Shorter answers go as they are. */ minBytes: number }[];
}

/** A header of the request; the client's own stays where it has one, unless `overwrite`. */
export interface CredentialFilter {
  type: "credential";
  header: string;
  secret: string;
  overwrite: boolean;
}

/** The first rule that fits an answer. */
export interface OverrideFilter {
  type: "override";
  rules: {
    /** Both ends included. */
    statuses: { from: number; to: number }[];
    headers?: { name: string; value: TextMatch }[];
    /** Absent: whoever gave the answer. */
    source?: "local" | "upstream";
    /** Absent: it stays. */
    status?: number;
    /** Instead of the answer's; absent: it stays. */
    body?: string;
    contentType?: string;
    change?: HeaderChange;
    /** Instead of all that: the client is sent elsewhere. */
    redirect?: { scheme?: string; hostname?: string; port?: number; path?: PathChange; status: number };
  }[];
}

/** Nothing goes on before the whole body is there; a longer one is answered with 413. */
export interface RequestBufferFilter {
  type: "requestBuffer";
  bytes: number;
}

/** What upstreams answer, of all requests of the rule together. */
export interface BandwidthFilter {
  type: "bandwidth";
  answerBytesPerSecond: number;
}

/** What connections may be upgraded to ("websocket"), in lower case; who asks for another protocol is answered with 403. */
export interface UpgradesFilter {
  type: "upgrades";
  protocols: string[];
}
