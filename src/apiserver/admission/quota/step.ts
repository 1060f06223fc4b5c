import type { KubeObject } from "../../../api/meta.ts";
import { type Amounts, amountsOf } from "../../../api/pod-resources.ts";
import { compareQuantity, parseQuantity } from "../../../api/quantity.ts";
import { add, coveredNames, isInScope, printUsage, subtract, unstated, updateCounts, usageOf } from "../../../api/kinds/core/resourcequota-usage.ts";
import { forbiddenError } from "../../../api/status.ts";
import type { ApiOptions } from "../../api.ts";
import type { AdmissionRequest, AdmissionStep } from "../../rest/context.ts";
import { keyOf } from "../../rest/keys.ts";
import { type Account, QuotaLedger, type Reservation } from "./ledger.ts";

const zero = parseQuantity("0");

/**
 * Refuses what would exceed a ResourceQuota of its namespace. It is the last step: what it lets pass is on its way
 * to the store. Source: k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go, CheckRequest.
 */
export function resourceQuota({ store, registry }: Pick<ApiOptions, "store" | "registry">): AdmissionStep {
  const ledger = new QuotaLedger(store, registry);
  const reservations = new WeakMap<AdmissionRequest, Reservation>();
  return {
    name: "ResourceQuota",
    validate(request) {
      const { operation, kind, subresource, namespace, object, old, dryRun } = request;
      if (namespace === undefined || !object || (operation !== "CREATE" && operation !== "UPDATE") || (subresource !== undefined && subresource !== "resize")) return;
      if (operation === "UPDATE" && !updateCounts(kind, object, old!)) return;
      let amounts = admitted(ledger.accounts(namespace));
      // Before anybody is refused, what has been deleted a moment ago is taken into account.
      if (amounts === undefined) amounts = admitted(ledger.accounts(namespace, true), true)!;
      if (dryRun || amounts.size === 0) return;
      const reservation = { namespace, key: keyOf(kind, namespace, object.metadata.name), uid: operation === "CREATE" ? object.metadata.uid : undefined, base: Number(old?.metadata.resourceVersion ?? 0), amounts };
      ledger.reserve(reservation);
      reservations.set(request, reservation);

      /** What is used of which account; undefined, or the refusal, when that is too much. */
      function admitted(accounts: readonly Account[], final = false): Map<Account, Amounts> | undefined {
        const result = new Map<Account, Amounts>();
        for (const account of accounts) {
          const wanted = newUsage(request, account);
          if (!wanted) continue;
          const used = { ...account.used };
          const reserved = ledger.reserved(namespace!, account);
          add(used, reserved, Object.keys(reserved));
          const after = { ...used };
          add(after, wanted, Object.keys(wanted));
          const hard = amountsOf(account.spec.hard);
          const exceeded = Object.keys(wanted).filter((name) => compareQuantity(after[name]!, hard[name]!) > 0);
          if (exceeded.length === 0) result.set(account, wanted);
          else if (!final) return undefined;
          else throw forbiddenError(kind, object!.metadata.name, `exceeded quota: ${account.name}, requested: ${printUsage(wanted, exceeded)}, used: ${printUsage(used, exceeded)}, limited: ${printUsage(hard, exceeded)}`);
        }
        return result;
      }
    },
    release(request) {
      const reservation = reservations.get(request);
      if (reservation) ledger.release(reservation);
    },
  };
}

/** What the request uses more than before, above zero; undefined: the quota does not concern it, or nothing is added. */
function newUsage({ kind, operation, object, old, name }: AdmissionRequest, { spec, name: quota }: Account): Amounts | undefined {
  const names = coveredNames(kind, spec.hard ?? {});
  if (names.length === 0 || !isInScope(spec, kind, object!)) return undefined;
  const missing = unstated(kind, object!, names);
  if (missing) throw forbiddenError(kind, object!.metadata.name || name, `failed quota: ${quota}: ${missing}`);
  const usage: Amounts = {};
  add(usage, usageOf(kind, object!), names);
  const negative = Object.keys(usage).filter((resource) => compareQuantity(usage[resource]!, zero) < 0);
  if (negative.length > 0) throw forbiddenError(kind, object!.metadata.name || name, `quota usage is negative for resource(s): ${negative.sort().join(",")}`);
  if (operation === "UPDATE" && isInScope(spec, kind, old!)) subtract(usage, usageOf(kind, old as KubeObject), names);
  const added = Object.fromEntries(Object.entries(usage).filter(([, quantity]) => compareQuantity(quantity, zero) > 0));
  return Object.keys(added).length > 0 ? added : undefined;
}
