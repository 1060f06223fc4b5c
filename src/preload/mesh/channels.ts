import diagnostics from "node:diagnostics_channel";

/** Node 18 had the latter form alone at first. */
export function onChannel(name: string, listener: (message: unknown) => void): void {
  if (typeof diagnostics.subscribe === "function") diagnostics.subscribe(name, listener);
  else (diagnostics as { channel(name: string): { subscribe(listener: (message: unknown) => void): void } }).channel(name).subscribe(listener);
}
