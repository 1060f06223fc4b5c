/**
 * `$(NAME)` in commands, arguments, env values and subPathExpr: replaced when `lookup` knows the name, left as
 * written otherwise; `$$` is a plain `$`. Source: k8s.io/kubernetes/third_party/forked/golang/expansion.
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  let out = "";
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== "$" || at + 1 === text.length) {
      out += text[at];
      continue;
    }
    const next = text[at + 1];
    if (next === "$") {
      out += "$";
      at++;
    } else if (next === "(") {
      const end = text.indexOf(")", at + 2);
      if (end < 0) {
        // An unfinished reference is text: upstream drops nothing but reads on behind the parenthesis.
        out += "$(";
        at++;
        continue;
      }
      out += lookup(text.slice(at + 2, end)) ?? text.slice(at, end + 1);
      at = end;
    } else {
      out += `$${next}`;
      at++;
    }
  }
  return out;
}
