import type { HttpFilter } from "../../api/traffic.ts";
import { isObject, type Json, textIn } from "./json.ts";
import { NotHonoured } from "./not-honoured.ts";

export const policyField = "x-amazon-apigateway-policy";

const everybody = ["0.0.0.0/0", "::/0"];
interface Statement {
  effect: "Allow" | "Deny";
  /** Absent: always. */
  source?: { not: boolean; ranges: string[] };
}

/**
 * A resource policy, as far as it goes by addresses: denied is denied, and who is not allowed is denied as well. Who somebody is to AWS
 * nobody here can know: statements that ask for it are refused.
 * @throws NotHonoured
 */
export function resourcePolicyOf(given: Json | undefined, { stage, method, path }: { stage: string; /** Upper case, or "ANY". */ method: string; /** As the document has it. */ path: string }): HttpFilter[] {
  if (given === undefined) return [];
  const statements = isObject(given) ? given["Statement"] : undefined;
  const list = Array.isArray(statements) ? statements : isObject(statements) ? [statements] : undefined;
  if (!list) throw new NotHonoured(`${policyField}.Statement`, "must be a list");
  for (const field of Object.keys(given as object)) if (!["Version", "Id", "Statement"].includes(field)) throw new NotHonoured(`${policyField}.${field}`, "is not honoured");
  const meant = list.flatMap((statement, i) => statementOf(statement, `${policyField}.Statement[${i}]`, { stage, method, path }));
  const of = (effect: string): Statement[] => meant.filter((statement) => statement.effect === effect);
  const [allowed, denied] = [of("Allow"), of("Deny")];
  if (allowed.length === 0 || denied.some(({ source }) => !source)) return [{ type: "sourceRanges", deny: everybody }];
  const filters: HttpFilter[] = denied.map(({ source }) => ({ type: "sourceRanges", ...(source!.not ? { allow: source!.ranges } : { deny: source!.ranges }) }));
  if (allowed.some(({ source }) => !source)) return filters;
  if (allowed.some(({ source }) => source!.not)) {
    if (allowed.length > 1) throw new NotHonoured(`${policyField}.Statement`, "allows by NotIpAddress beside another Allow, which is not honoured");
    return [...filters, { type: "sourceRanges", deny: allowed[0]!.source!.ranges }];
  }
  return [...filters, { type: "sourceRanges", allow: allowed.flatMap(({ source }) => source!.ranges) }];
}

function statementOf(given: Json, at: string, operation: { stage: string; method: string; path: string }): Statement[] {
  if (!isObject(given)) throw new NotHonoured(at, "must be an object");
  const { Effect: effect, Principal: principal, Action: action, Resource: resource, Condition: condition, Sid, ...rest } = given;
  void Sid;
  const [other] = Object.keys(rest);
  if (other !== undefined) throw new NotHonoured(`${at}.${other}`, "is not honoured");
  if (effect !== "Allow" && effect !== "Deny") throw new NotHonoured(`${at}.Effect`, `${textIn(effect)} is not Allow or Deny`);
  const who = isObject(principal) ? principal["AWS"] : principal;
  if (who !== "*" && !(Array.isArray(who) && who.length === 1 && who[0] === "*")) throw new NotHonoured(`${at}.Principal`, `${JSON.stringify(principal)} is known to AWS alone; "*" is honoured`);
  if (!listOf(action, `${at}.Action`).some((one) => ["execute-api:invoke", "execute-api:*", "*"].includes(one.toLowerCase()))) return [];
  if (!listOf(resource ?? "*", `${at}.Resource`).some((one) => covers(one, `${at}.Resource`, operation))) return [];
  const source = condition === undefined ? undefined : sourceOf(condition, `${at}.Condition`);
  return [{ effect, ...(source && { source }) }];
}

function listOf(given: Json | undefined, at: string): string[] {
  const list = Array.isArray(given) ? given : [given];
  if (!list.every((one) => typeof one === "string")) throw new NotHonoured(at, "must be a text, or a list of texts");
  return list;
}

function sourceOf(given: Json, at: string): Statement["source"] {
  const entries = isObject(given) ? Object.entries(given) : [];
  const [first] = entries;
  if (!first || entries.length > 1) throw new NotHonoured(at, "must have one condition: IpAddress or NotIpAddress of aws:SourceIp");
  const [operator, keys] = first;
  const [key, ...more] = isObject(keys) ? Object.keys(keys) : [];
  if ((operator !== "IpAddress" && operator !== "NotIpAddress") || key?.toLowerCase() !== "aws:sourceip" || more.length > 0) throw new NotHonoured(`${at}.${operator}`, `of ${key ?? "nothing"} is not honoured; IpAddress and NotIpAddress of aws:SourceIp are`);
  return { not: operator === "NotIpAddress", ranges: listOf((keys as Record<string, Json>)[key], `${at}.${operator}`) };
}

/** "execute-api:/STAGE/METHOD/PATH", or the same behind an ARN. What depends on a parameter of the path is refused. */
function covers(resource: string, at: string, { stage, method, path }: { stage: string; method: string; path: string }): boolean {
  if (resource === "*") return true;
  const tail = /^(?:execute-api:\/|arn:[^:]*:execute-api:[^:]*:[^:]*:[^/]*\/)(.*)$/.exec(resource)?.[1];
  if (tail === undefined) throw new NotHonoured(at, `${resource} is not a resource of execute-api`);
  if (tail === "*") return true;
  const [ofStage = "", ofMethod = "*", ...rest] = tail.split("/");
  const unclear = (): never => {
    throw new NotHonoured(at, `${resource} covers a part of ${method} ${path}, which is not honoured`);
  };
  if (ofStage !== "*" && ofStage !== stage) return false;
  if (ofMethod !== "*" && ofMethod !== method) return method === "ANY" ? unclear() : false;
  const wanted = rest.join("/");
  if (rest.length === 0 || wanted === "*") return true;
  const own = path.slice(1);
  const literal = own.split("{")[0]!;
  const begin = wanted.endsWith("*") ? wanted.slice(0, -1) : undefined;
  if (wanted === own) return true;
  if ((begin ?? wanted).includes("*")) return unclear();
  if (begin !== undefined && literal.startsWith(begin)) return true;
  if (literal === own || !(begin ?? wanted).startsWith(literal)) return false;
  return unclear();
}
