import { after } from 'node:test';
import { v1 } from '../../../proto/load.ts';
import { Admission, type AdmissionOptions } from '../../../services/runtime/admission/admission.ts';
import { kindsOf } from '../../../services/runtime/admission/kinds.ts';
import type { ServiceError } from '../../../services/runtime/errors.ts';
import { callUnary, serve } from '../../../services/runtime/testing/harness.ts';

const closers: (() => unknown)[] = [];
after(() => Promise.all(closers.map((close) => close())));

/** Has something done when the tests of a file have ended. */
export function afterwards(close: () => unknown): void {
  closers.push(close);
}

/** A query service behind an admission, and what that has refused; `served` calls a method that has to answer. */
export async function startAdmitted(
  handlers: Parameters<typeof serve>[0],
  options: Partial<AdmissionOptions>,
) {
  const refusals: ServiceError[] = [];
  const admission = new Admission({
    slots: 100,
    places: 0,
    maxReceiveBytes: 1 << 20,
    kinds: kindsOf(v1.QueryService.service),
    onRefusal: (_, error) => refusals.push(error),
    ...options,
  });
  const all = { Encode: () => Promise.resolve({ embeddings: [{ values: [1] }] }), ...handlers };
  const { client, server, stop } = await serve(all, { hooks: admission });
  afterwards(() => (admission.close(), stop()));
  const { address } = server;
  const port = Number(address.split(':')[1]);
  return { admission, client, refusals, address, port, served: () => callUnary(client, 'Encode', {}) };
}
