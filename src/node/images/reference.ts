export interface ImageReference {
  /** As written, without tag and digest: "ecommerce/user-service", "localhost:5000/a". */
  name: string;
  /** Without registry and `library/` when it is one of Docker Hub's official images: "postgres". */
  familiar: string;
  /** "" when none is written. */
  tag: string;
  digest: string;
}

/** Takes an image's name apart; undefined when it is none. Source of the grammar: distribution/reference. */
export function parseReference(text: string): ImageReference | undefined {
  const match = /^((?:[a-zA-Z0-9.-]+(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)(?::([\w][\w.-]{0,127}))?(?:@([a-z0-9+._-]+:[0-9a-fA-F]{32,}))?$/.exec(text);
  if (!match) return undefined;
  const name = match[1]!;
  return { name, familiar: name.replace(/^(index\.)?docker\.io\//, "").replace(/^library\//, ""), tag: match[2] ?? "", digest: match[3] ?? "" };
}
