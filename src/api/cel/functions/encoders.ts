import { CelEvaluationError } from "../errors.ts";
import { declare } from "./declare.ts";

/** Source: cel-go's ext/encoders.go; k8s.io/apiserver/pkg/cel/library/jsonpatch.go. */
const form = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}(?:==)?|[A-Za-z0-9+/]{3}=?)?$/;

export const encoders = declare([
  ["base64.encode", "(bytes): string", ([bytes], frame) => (frame.work(bytes.length), Buffer.from(bytes).toString("base64"))],
  ["base64.decode", "(string): bytes", ([text], frame) => {
    frame.work(text.length);
    const clean = text.replaceAll(/[\r\n]/g, "");
    if (!form.test(clean)) throw new CelEvaluationError("illegal base64 data at input byte 0");
    return Uint8Array.from(Buffer.from(clean, "base64"));
  }],
  ["jsonpatch.escapeKey", "(string): string", ([text]) => text.replaceAll("~", "~0").replaceAll("/", "~1")],
]);
