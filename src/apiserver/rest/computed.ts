import type { ListOptions } from "../../api/client.ts";
import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import { notFoundError } from "../../api/status.ts";
import type { Entry, Store } from "../../store/store.ts";
import { filterOf, type Listed, passes } from "./read.ts";

/** Get and list of a kind whose objects are made when asked for: the forms and selectors are those of every kind. */
export async function computeOne(store: Store, kind: Kind, namespace: string | undefined, name: string): Promise<Entry> {
  const [object] = await kind.computed!.list(namespace, name);
  if (!object) throw notFoundError({ ...kind, resource: kind.kind.toLowerCase() }, namespace === undefined ? name : `${namespace}/${name}`);
  return entryOf(store.revision, object);
}

export async function computeList(store: Store, kind: Kind, options: ListOptions): Promise<Listed> {
  const filter = filterOf(kind, options);
  const objects = await kind.computed!.list(options.namespace, filter.fields?.exactValue("metadata.name"));
  return { entries: objects.filter((object) => passes(kind, filter, object)).map((object) => entryOf(store.revision, object)), revision: store.revision };
}

function entryOf(revision: number, object: KubeObject): Entry {
  let bytes: Buffer | undefined;
  return { key: "", revision, object: object as Entry["object"], get bytes() { return (bytes ??= Buffer.from(JSON.stringify(object))); } };
}
