import { type CustomResourceDefinition, type DefinitionStatus, isCondition, type Names } from "../../api/crd/definition.ts";
import { lazyModule } from "../../base/lazy.ts";
import { type Condition, withCondition } from "../../api/meta.ts";

const checks = lazyModule<typeof import("../../api/kinds/apiextensions/validate.ts")>(import.meta.url, "../../api/kinds/apiextensions/validate.ts");

export const loadChecks = (): void => void checks();

/** Names of a group that other definitions and built-in kinds have. */
export interface NamesTaken {
  /** Plurals, singulars and short names. */
  readonly resources: ReadonlySet<string>;
  /** Kinds and list kinds. */
  readonly kinds: ReadonlySet<string>;
}

export function namesOf(names: Partial<Names> | undefined): { resources: string[]; kinds: string[] } {
  const present = (list: (string | undefined)[]) => list.filter((name): name is string => name !== undefined && name !== "");
  return { resources: present([names?.plural, names?.singular, ...(names?.shortNames ?? [])]), kinds: present([names?.kind, names?.listKind]) };
}

/**
 * The status that a definition gets: which of its names it may have, and whether it is served. The very status it
 * has when that is right already.
 * Source: k8s.io/apiextensions-apiserver/pkg/controller/{status/naming_controller,establish/establishing_controller}.go.
 */
export function conditionsFor(definition: CustomResourceDefinition, taken: NamesTaken, nowMs: number): DefinitionStatus {
  const { names: wanted } = definition.spec;
  const had = definition.status?.acceptedNames ?? {};
  const accepted: { -readonly [Name in keyof Names]?: Names[Name] } = { ...had };
  const problems: { reason: string; name: string }[] = [];
  const take = <T extends "plural" | "singular" | "kind" | "listKind">(field: T, others: ReadonlySet<string>, reason: string) => {
    const name = wanted[field];
    if (name !== undefined && name !== had[field] && others.has(name)) problems.push({ reason, name });
    else if (name === undefined) delete accepted[field];
    else accepted[field] = name;
  };
  take("plural", taken.resources, "PluralConflict");
  take("singular", taken.resources, "SingularConflict");
  const wrongShort = (wanted.shortNames ?? []).filter((name) => !had.shortNames?.includes(name) && taken.resources.has(name));
  if (wrongShort.length > 0) problems.push(...wrongShort.map((name) => ({ reason: "ShortNamesConflict", name })));
  else if (wanted.shortNames) accepted.shortNames = wanted.shortNames;
  else delete accepted.shortNames;
  take("kind", taken.kinds, "KindConflict");
  take("listKind", taken.kinds, "ListKindConflict");
  if (wanted.categories) accepted.categories = wanted.categories;
  else delete accepted.categories;

  const last = problems.at(-1);
  const namesAccepted: Condition =
    last === undefined
      ? { type: "NamesAccepted", status: "True", reason: "NoConflicts", message: "no conflicts found" }
      : { type: "NamesAccepted", status: "False", reason: last.reason, message: last.reason === "ShortNamesConflict" ? shortNamesText(wrongShort) : `${JSON.stringify(last.name)} is already in use` };
  const isEstablished = isCondition(definition, "Established");
  // Once established, a definition stays so: its objects are there.
  const established: Condition =
    last === undefined || isEstablished
      ? { type: "Established", status: "True", reason: "InitialNamesAccepted", message: "the initial names have been accepted" }
      : { type: "Established", status: "False", reason: "NotAccepted", message: "not all names are accepted" };

  const before = (definition.status?.conditions ?? []) as Condition[];
  const { state, text } = checks().approvalOf(definition);
  const approval: Condition[] = state === "none" ? [] : [{ type: "KubernetesAPIApprovalPolicyConformant", status: state === "approved" ? "True" : "False", reason: approvalReasons[state], message: text }];
  const conditions = [...approval, namesAccepted, established].reduce<Condition[]>((list, condition) => withCondition(list, condition, nowMs), before);
  const storedVersions = definition.status?.storedVersions ?? definition.spec.versions.filter(({ storage }) => storage).map(({ name }) => name);
  if (definition.status && conditions === before && sameNames(had, accepted) && definition.status.storedVersions) return definition.status;
  return { ...definition.status, conditions, acceptedNames: accepted, storedVersions };
}

const approvalReasons = { missing: "MissingAnnotation", invalid: "InvalidAnnotation", approved: "ApprovedAnnotation", bypassed: "UnapprovedAnnotation" } as const;

const shortNamesText = (names: readonly string[]): string => (names.length === 1 ? `${JSON.stringify(names[0])} is already in use` : `[${names.map((name) => `${JSON.stringify(name)} is already in use`).join(", ")}]`);

function sameNames(a: Partial<Names>, b: Partial<Names>): boolean {
  const text = (names: Partial<Names>) => JSON.stringify([names.plural, names.singular, names.shortNames ?? [], names.kind, names.listKind, names.categories ?? []]);
  return text(a) === text(b);
}
