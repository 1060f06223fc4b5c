import { isObject } from "../../base/is-object.ts";
import { type Fits, globOf, type Resource, resourcePattern } from "./resources.ts";

/** What an authorizer has said of somebody. */
export interface Verdict {
  principalId: string | undefined;
  /** For templates and headers. */
  context: Readonly<Record<string, unknown>>;
  /** The key that counts for usage plans. */
  usageIdentifierKey: string | undefined;
  /** Whether this may be done. */
  allows(resource: Resource): boolean;
}

const statementsMax = 200;
const resourcesMax = 1_000;
const invoke = "execute-api:invoke";


/**
 * An answer of a Lambda authorizer: a policy document, or `isAuthorized`. Whatever is not understood is an error, and lets nobody in.
 * Sources: AWS API Gateway's developer guide, "Output from an API Gateway Lambda authorizer" and "Lambda authorizer response format".
 * @throws Error
 */
export function readAnswer(body: Buffer, simple: boolean): Verdict {
  let answer: unknown;
  try {
    answer = JSON.parse(body.toString("utf8"));
  } catch {
    throw new Error("it answered no JSON");
  }
  if (!isObject(answer)) throw new Error("it answered no object");
  const { context = {}, usageIdentifierKey, principalId } = answer;
  if (!isObject(context)) throw new Error("context is not an object");
  if (usageIdentifierKey !== undefined && usageIdentifierKey !== null && typeof usageIdentifierKey !== "string") throw new Error("usageIdentifierKey is not a text");
  const common = { context, usageIdentifierKey: usageIdentifierKey ?? undefined };
  if (simple) {
    const { isAuthorized } = answer;
    if (typeof isAuthorized !== "boolean") throw new Error("isAuthorized is neither true nor false");
    return { ...common, principalId: typeof principalId === "string" ? principalId : undefined, allows: () => isAuthorized };
  }
  if (typeof principalId !== "string") throw new Error("principalId is not a text");
  for (const [name, value] of Object.entries(context)) if (typeof value === "object" && value !== null) throw new Error(`context.${name} is neither a text, a number, true nor false`);
  return { ...common, principalId, allows: policyOf(answer["policyDocument"]) };
}

interface Statement {
  isAllowing: boolean;
  resources: Fits[];
}

/** Denied is denied; else it must be allowed. */
function policyOf(document: unknown): Verdict["allows"] {
  if (!isObject(document)) throw new Error("policyDocument is missing");
  const { Statement: given, Version: _version, Id: _id, ...more } = document;
  const [other] = Object.keys(more);
  if (other !== undefined) throw new Error(`policyDocument.${other} is not honoured`);
  const list = Array.isArray(given) ? given : [given];
  if (list.length > statementsMax) throw new Error(`policyDocument.Statement has more than ${statementsMax} entries`);
  const statements = list.flatMap((one: unknown, i): Statement[] => {
    const made = statementOf(one, `policyDocument.Statement[${i}]`);
    return made ? [made] : [];
  });
  if (statements.reduce((sum, { resources }) => sum + resources.length, 0) > resourcesMax) throw new Error(`policyDocument has more than ${resourcesMax} resources`);
  return (resource) => {
    let isAllowed = false;
    for (const { isAllowing, resources } of statements) {
      if (!resources.some((fits) => fits(resource))) continue;
      if (!isAllowing) return false;
      isAllowed = true;
    }
    return isAllowed;
  };
}

/** Undefined: it is about something else than asking an API. */
function statementOf(given: unknown, at: string): Statement | undefined {
  if (!isObject(given)) throw new Error(`${at} is not an object`);
  const { Effect: effect, Action: action, Resource: resource, Sid: _sid, ...more } = given;
  const [other] = Object.keys(more);
  // A condition that is passed over would let in whom it keeps out.
  if (other !== undefined) throw new Error(`${at}.${other} is not honoured`);
  if (effect !== "Allow" && effect !== "Deny") throw new Error(`${at}.Effect is neither Allow nor Deny`);
  const isMeant = textsOf(action, `${at}.Action`).some((text) => globOf(text.toLowerCase())(invoke));
  const resources = textsOf(resource, `${at}.Resource`).map((text) => resourcePattern(text, `${at}.Resource`, effect === "Allow"));
  return isMeant ? { isAllowing: effect === "Allow", resources } : undefined;
}

function textsOf(given: unknown, at: string): string[] {
  const list: unknown[] = Array.isArray(given) ? given : [given];
  if (list.length === 0 || !list.every((one): one is string => typeof one === "string")) throw new Error(`${at} is neither a text nor a list of texts`);
  return list;
}
