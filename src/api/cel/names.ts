/**
 * Field names as expressions can write them: "foo-bar" is foo__dash__bar, "namespace" is __namespace__.
 * Source: k8s.io/apiserver/pkg/cel/escaping.go.
 */
const reserved = new Set(["true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"]);
const byCharacter: Record<string, string> = { __: "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__" };
const byEscape: Record<string, string> = Object.fromEntries(Object.entries(byCharacter).map(([character, escape]) => [escape, character]));

export const escapeName = (name: string): string => (reserved.has(name) ? `__${name}__` : name.replaceAll(/__|[.\-/]/g, (part) => byCharacter[part]!));

/** Whether an expression can name the field at all. */
export const isEscapable = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(escapeName(name));

export function unescapeName(name: string): string {
  const word = /^__(.+)__$/.exec(name)?.[1];
  if (word !== undefined && reserved.has(word)) return word;
  return name.replaceAll(/__(?:underscores|dot|dash|slash)__/g, (escape) => byEscape[escape]!);
}
