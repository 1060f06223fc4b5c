import { declare } from "./declare.ts";

/** Source: k8s.io/apiserver/pkg/cel/library/jsonpatch.go. */
export const jsonPatch = declare([["jsonpatch.escapeKey", "(string): string", ([text]) => text.replaceAll("~", "~0").replaceAll("/", "~1")]]);
