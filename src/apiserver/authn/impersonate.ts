import { badRequestError, forbiddenError } from "../../api/status.ts";
import { type Attributes, type Rbac, refusalText } from "../authz/rbac.ts";
import type { Request } from "../http/exchange.ts";
import type { Identity } from "../rest/context.ts";

/**
 * `kubectl --as`: acts as somebody else, if the one who asks may impersonate every part of him. A header that is
 * not understood is refused, for otherwise the request would run with more rights than its sender wished.
 * Source: k8s.io/apiserver/pkg/endpoints/filters/impersonation.go.
 */
export function impersonate(user: Identity, { headers, rawHeaders }: Pick<Request, "headers" | "rawHeaders">, rbac: Rbac): Identity {
  const names: string[] = [];
  for (const name in headers) if (name.startsWith("impersonate-")) names.push(name);
  if (names.length === 0) return user;
  const name = headers["impersonate-user"] as string | undefined;
  const wantedGroups = listOf(rawHeaders, "impersonate-group");
  const uid = headers["impersonate-uid"] as string | undefined;
  const extra: Record<string, string[]> = {};
  for (const header of names) {
    if (header.startsWith("impersonate-extra-")) extra[keyOf(header)] = listOf(rawHeaders, header);
    else if (!["impersonate-user", "impersonate-group", "impersonate-uid"].includes(header)) throw badRequestError(`unknown impersonation header ${JSON.stringify(header)}`);
  }

  if (!name) throw badRequestError(`requested [${wishes(wantedGroups, extra, uid)}] without impersonating a user`);
  const require = (attributes: Attributes & { group: string; resource: string; name?: string | undefined }) => {
    if (!rbac.authorize(user, attributes).allowed) throw forbiddenError(attributes, attributes.name ?? "", refusalText(user, attributes));
  };
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  if (account) require({ verb: "impersonate", group: "", resource: "serviceaccounts", namespace: account[1], name: account[2] });
  else require({ verb: "impersonate", group: "", resource: "users", name });
  for (const group of wantedGroups) require({ verb: "impersonate", group: "", resource: "groups", name: group });
  for (const [key, values] of Object.entries(extra)) for (const value of values) require({ verb: "impersonate", group: "authentication.k8s.io", resource: "userextras", subresource: key, name: value });
  if (uid) require({ verb: "impersonate", group: "authentication.k8s.io", resource: "uids", name: uid });

  const groups = new Set(wantedGroups);
  if (account && groups.size === 0) for (const group of ["system:serviceaccounts", `system:serviceaccounts:${account[1]}`]) groups.add(group);
  // Who says that he proved nothing is not called authenticated.
  if (name === "system:anonymous") groups.add("system:unauthenticated");
  else if (!groups.has("system:unauthenticated")) groups.add("system:authenticated");
  return { name, ...(uid && { uid }), groups: [...groups], ...(Object.keys(extra).length > 0 && { extra }) };
}

/** As Go prints its list of object references. */
function wishes(groups: readonly string[], extra: Readonly<Record<string, readonly string[]>>, uid: string | undefined): string {
  const version = "authentication.k8s.io/v1";
  return [
    ...groups.map((group) => `{Group  ${group}    }`),
    ...Object.entries(extra).flatMap(([key, values]) => values.map((value) => `{UserExtra  ${value}  ${version}  ${key}}`)),
    ...(uid ? [`{UID  ${uid}  ${version}  }`] : []),
  ].join(" ");
}

function keyOf(header: string): string {
  try {
    return decodeURIComponent(header.slice("impersonate-extra-".length));
  } catch {
    throw badRequestError(`malformed impersonation header ${JSON.stringify(header)}`);
  }
}

/** One value a line: Node joins them by commas, which a group's name may hold. */
const listOf = (rawHeaders: readonly string[], name: string): string[] => rawHeaders.filter((value, index) => index % 2 === 1 && value !== "" && rawHeaders[index - 1]!.toLowerCase() === name);
