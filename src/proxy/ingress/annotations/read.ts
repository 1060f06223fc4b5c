import { defaultSettings, type Settings } from "./settings.ts";
import { table } from "./table.ts";
import { ValueError } from "./values.ts";
import { protections, withoutEffect } from "./without-effect.ts";

const prefix = "nginx.ingress.kubernetes.io/";

/** For an Event on the Ingress. */
export interface Note {
  type: "Normal" | "Warning";
  reason: string;
  message: string;
}

/** The settings of one Ingress, and what there is to say about each annotation that is not simply done. */
export function readAnnotations(annotations: Readonly<Record<string, string>> = {}): { settings: Settings; notes: Note[] } {
  const settings = defaultSettings();
  const notes: Note[] = [];
  const warn = (reason: string, message: string) => notes.push({ type: "Warning", reason, message });
  // In an order of its own: what is read must not depend on how somebody wrote it down.
  for (const full of Object.keys(annotations).sort()) {
    if (!full.startsWith(prefix)) continue;
    const name = full.slice(prefix.length);
    const value = annotations[full]!.trim();
    const row = table[name];
    if (row) {
      try {
        const said = row.read(value, settings);
        if (said) warn("AnnotationNote", `${name}: ${value} ${said}`);
      } catch (error) {
        if (!(error instanceof ValueError)) throw error;
        const what = `${name}: ${JSON.stringify(value)} ${error.message}`;
        if (row.protects) settings.closed ??= what;
        warn("InvalidAnnotation", row.protects ? `${what}; its paths answer 503` : `${what}; it has no effect`);
      }
      continue;
    }
    const protection = protections.find((one) => (one.name.endsWith("-") ? name.startsWith(one.name) : name === one.name));
    if (protection) {
      if (protection.off?.test(value)) continue;
      settings.closed ??= `${name} is not supported`;
      warn("UnsupportedProtection", `${name} is not supported, and what it protects must not be open: all paths of this Ingress answer 503`);
    } else if (!withoutEffect.has(name)) {
      warn("UnknownAnnotation", `${name} is not known: it has no effect`);
    }
  }
  const { canary } = settings;
  if (!canary.enabled && (canary.weight > 0 || canary.header || canary.headerValue || canary.headerPattern || canary.cookie)) warn("InvalidAnnotation", 'canary-*: have no effect without canary: "true"');
  return { settings, notes };
}
