import { declare, type Frame } from "./declare.ts";
import { matcherOf } from "./patterns.ts";

/** Source: k8s.io/apiserver/pkg/cel/library/regex.go. */
function findAll(text: string, pattern: string, limit: bigint, frame: Frame): string[] {
  const found: string[] = [];
  const matcher = matcherOf(pattern).matcher(text);
  const most = limit < 0n ? Infinity : Number(limit);
  while (found.length < most && matcher.find()) {
    frame.work(1);
    found.push(matcher.group()!);
  }
  return found;
}

export const regex = declare([
  ["find", "string.(string): string", ([text, pattern]) => {
    const matcher = matcherOf(pattern).matcher(text);
    return matcher.find() ? matcher.group() : "";
  }],
  ["findAll", "string.(string): list<string>", ([text, pattern], frame) => findAll(text, pattern, -1n, frame)],
  ["findAll", "string.(string, int): list<string>", ([text, pattern, limit], frame) => findAll(text, pattern, limit, frame)],
]);
