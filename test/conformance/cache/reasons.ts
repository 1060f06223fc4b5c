const cookie = "a cookie is set for one client; it is kept for all only where `public` or `s-maxage` says so";
const order = "the order of languages may say which is liked best: origins that read it so would answer the wrong one";
const parts = "parts are passed on and not kept: a whole answer is kept, and parts are served from it";

/** Why Wherry's cache does otherwise than a test of the suite wants. */
export const reasons: Readonly<Record<string, string>> = {
  "headers-store-Set-Cookie": cookie,
  "other-set-cookie": cookie,
  "headers-store-Transfer-Encoding": "the test's origin sends a transfer coding that nobody knows, and an answer whose end is not certain is refused with 502",
  "method-POST": "an answer to POST is of what was posted; that it is good for GET as well is too little said by Content-Location",
  "vary-normalise-lang-order": order,
  "vary-normalise-lang-select": "which language is meant is for the origin to say",
  "conditional-lm-fresh-no-lm": "what has no Last-Modified is as new as its Date (RFC 9111 §4.3.2), which here is later than what the client has: 304 would leave it with the old one",
  "partial-store-partial-reuse-partial": parts,
  "partial-store-partial-reuse-partial-byterange": parts,
  "partial-store-partial-reuse-partial-absent": parts,
  "partial-store-partial-reuse-partial-suffix": parts,
  "partial-store-partial-complete": parts,
};
