const authenticated = "system:authenticated";

/**
 * The groups of somebody who proved who he is: everybody of that sort is in one more, unless he says of himself that he
 * is nobody. Source: k8s.io/apiserver/pkg/authentication/group/authenticated_group_adder.go.
 */
export function groupsOf(name: string, groups: readonly string[]): string[] {
  const isAsHeSays = name === "system:anonymous" || groups.includes(authenticated) || groups.includes("system:unauthenticated");
  return isAsHeSays ? [...groups] : [...groups, authenticated];
}
