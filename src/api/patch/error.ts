import { StatusError } from "../status.ts";

/** A patch that cannot be applied: 400 when it is malformed, 422 when it does not fit the object. */
export function malformedPatch(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

/** Upstream hides what exactly did not fit; the reason goes to whoever looks at `cause`. */
export function unfittingPatch(why: string): StatusError {
  const error = new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
  error.cause = new Error(why);
  return error;
}
