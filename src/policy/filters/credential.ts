import type { CredentialFilter } from "../../api/traffic-answers.ts";
import type { Filter } from "../exchange.ts";
import { compileEdits, isHeaderValue, mergeEdits } from "../header-edits.ts";
import { PolicyError } from "../policy-error.ts";
import { editedHeader } from "../request-edits.ts";

/** What an upstream wants to be shown, which its clients need not know. */
export const credential: Filter<CredentialFilter> = ({ header, secret, overwrite }) => {
  const name = header.toLowerCase();
  if (name === "host") throw new PolicyError("header", header, "is no place for a credential");
  // What is wrong with it is told to whoever reads a status, and it is not.
  if (!isHeaderValue(secret)) throw new PolicyError("secret", "…", "must be visible characters, spaces and tabs");
  const edits = compileEdits({ set: [{ name: header, value: secret }] });
  return (next) => (exchange, outcome) => {
    if (overwrite || editedHeader(exchange.request, exchange.requestHeaders, name) === undefined) exchange.requestHeaders = mergeEdits(exchange.requestHeaders, edits);
    next(exchange, outcome);
  };
};
