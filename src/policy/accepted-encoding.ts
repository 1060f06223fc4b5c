/**
 * Which of our codings a client wants, by Accept-Encoding (RFC 9110 §12.5.3): the one of the highest weight, of equal ones our first.
 * Undefined: none, since it takes none of them or prefers what is not coded. A client that says nothing has asked for nothing.
 */
export function acceptedEncoding<Name extends string>(accepts: string | undefined, ours: readonly Name[]): Name | undefined {
  if (accepts === undefined) return undefined;
  const weights = new Map<string, number>();
  for (const entry of accepts.split(",")) {
    const [name = "", ...parameters] = entry.split(";").map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
    // What is no weight is none at all.
    if (name !== "") weights.set(name, weight === undefined ? 1 : /^(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)$/.test(weight) ? Number(weight) : 0);
  }
  const weightOf = (name: string): number => weights.get(name) ?? weights.get("*") ?? 0;
  let best: Name | undefined;
  for (const name of ours) if (weightOf(name) > (best === undefined ? 0 : weightOf(best))) best = name;
  return best !== undefined && weightOf(best) >= (weights.get("identity") ?? 0) ? best : undefined;
}
