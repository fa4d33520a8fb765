/**
 * Another process that writes to a store until it is refused, for tests: `node presence.child.js DIRECTORY`. It reports
 * each acknowledged document, and then the error that ended the writing.
 */
import { put, SPACE } from '../contract/stores.ts';
import { StoreError } from '../errors.ts';
import { openStore } from '../open.ts';

export type Report =
  | { kind: 'acknowledged'; number: number }
  | { kind: 'refused'; reason: string; message: string; loss: string | undefined; probe: string | undefined };

const store = await openStore({ kind: 'embedded', directory: process.argv[2]! });
await store.ensureCollection('docs', SPACE);
for (let number = 0; process.connected; number++) {
  try {
    await store.writeDocuments('docs', [put(`d${number}`, [[1, number, 0, 0]], { title: 'x'.repeat(2000) })]);
    process.send!({ kind: 'acknowledged', number } satisfies Report);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const probe = await store.probe().then(
      () => undefined,
      (failure: unknown) => (failure instanceof StoreError ? failure.reason : String(failure)),
    );
    const { reason, message, metadata } = error;
    process.send!({ kind: 'refused', reason, message, loss: metadata['loss'], probe } satisfies Report);
    break;
  }
}
await store.close();
process.disconnect?.();
