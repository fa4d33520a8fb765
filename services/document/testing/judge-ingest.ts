import assert from 'node:assert/strict';
import {
  COLLECTION,
  type HistoryEvent,
  type PlannedOperation,
  type SimulatedIngest,
} from './simulated-ingest.ts';
import { passageTexts } from '../../../store/store.ts';

/**
 * Judges what a simulation of ingest has left, by what the service promises, and shares no code with the service:
 *
 * - outcomes come in order, once on each connection, and watermarks cover only operations with outcomes;
 * - an outcome is sent only after the store has applied what it says;
 * - only an operation that is older than what the store has seen is rejected;
 * - in the end every operation is covered, and each document is what the operation with the highest version made of it,
 *   once.
 */
export async function judgeIngest({ plans, history, store }: SimulatedIngest): Promise<void> {
  judgeStreams(plans, history);
  judgeOutcomes(plans, history);
  const { documents } = await store.scroll(COLLECTION, '', { limit: 10_000 });
  const found = new Map(documents.map((document) => [document.documentId, document]));
  assert.equal(found.size, documents.length, 'a document is stored once');
  let passages = 0;
  for (const [documentId, last] of lastOperations(plans)) {
    const document = found.get(documentId);
    const is = document && { version: document.version, texts: passageTexts(document).join('|') };
    const version = last[0]!.version;
    const allowed = last.map(({ text }) => (text === undefined ? undefined : { version, texts: text }));
    const what = `${documentId} is ${JSON.stringify(is)}, not one of ${JSON.stringify(allowed)}`;
    assert.ok(
      allowed.some((one) => one?.version === is?.version && one?.texts === is?.texts),
      what,
    );
    passages += document?.passages.length ?? 0;
    found.delete(documentId);
  }
  assert.equal(found.size, 0, 'nobody has sent the other documents');
  assert.deepEqual(await store.count(COLLECTION, ''), { documents: documents.length, passages });
}

/** Why a stream may end: well or drained, by a store that is full, or given up by its client. Outages are waited out. */
const REASONS = ['', 'STORE_FULL', 'CLIENT_GONE'];

function judgeStreams(
  plans: readonly (readonly PlannedOperation[])[],
  history: readonly HistoryEvent[],
): void {
  plans.forEach((plan, client) => {
    let expected: PlannedOperation[] = [];
    let answered = 0;
    let watermark = 0;
    let isReady = false;
    for (const event of history) {
      if (event.kind === 'applied' || event.client !== client) continue;
      if (event.kind === 'opened') {
        assert.ok(event.from > watermark);
        expected = plan.filter(({ sequence }) => sequence >= event.from);
        answered = watermark;
        isReady = false;
      } else if (event.kind === 'outcome') {
        assert.equal(
          event.sequence,
          expected.shift()?.sequence,
          'outcomes come in the order of the operations',
        );
        answered = event.sequence;
      } else if (event.kind === 'closed') {
        const reasons = isReady ? REASONS : [...REASONS, 'STORE_UNAVAILABLE'];
        assert.ok(reasons.includes(event.reason), `a stream ended with ${event.reason}`);
      } else if (event.kind === 'ready') {
        isReady = true;
      } else {
        assert.ok(event.sequence > watermark, 'watermarks grow');
        assert.equal(event.sequence, answered, 'a watermark covers what has its outcome');
        watermark = event.sequence;
      }
    }
    assert.equal(watermark, plan.at(-1)!.sequence, 'everything is covered in the end');
  });
}

function judgeOutcomes(
  plans: readonly (readonly PlannedOperation[])[],
  history: readonly HistoryEvent[],
): void {
  /** Highest version that the store has taken, by document. */
  const highest = new Map<string, number>();
  /** Hash of each text; the service makes it. */
  const applied = new Set<string>();
  for (const event of history) {
    if (event.kind === 'applied') {
      const { write, result } = event;
      const { documentId, version } = write;
      if (result.outcome === 'stale' || result.outcome === 'changed') continue;
      highest.set(documentId, Math.max(highest.get(documentId) ?? 0, version));
      if (write.kind === 'put') {
        applied.add(keyOf(documentId, write.passages.map(({ text }) => text).join('|')));
      }
    } else if (event.kind === 'outcome') {
      const { documentId, version, text } = plans[event.client]!.find(
        ({ sequence }) => sequence === event.sequence,
      )!;
      const seen = highest.get(documentId) ?? 0;
      const what = `${event.outcome} of ${documentId} version ${version}; the store has seen ${seen}`;
      if (event.outcome === 'OUTCOME_KIND_REJECTED') {
        assert.ok(version < seen, `${what}: ${event.reason}`);
        continue;
      }
      const kinds = text === undefined ? /_DELETED$/ : /_(INDEXED|UNCHANGED)$/;
      assert.match(event.outcome, kinds, what);
      assert.ok(version <= seen, what);
      if (text !== undefined) assert.ok(applied.has(keyOf(documentId, text)), what);
    }
  }
}

/** The operations that may decide what a document is in the end: of each client the last with the highest version. */
function lastOperations(plans: readonly (readonly PlannedOperation[])[]): Map<string, PlannedOperation[]> {
  const last = new Map<string, PlannedOperation[]>();
  for (const plan of plans) {
    const own = new Map<string, PlannedOperation>();
    for (const operation of plan) {
      const before = own.get(operation.documentId);
      if (!before || operation.version >= before.version) own.set(operation.documentId, operation);
    }
    for (const [documentId, operation] of own) {
      const others = last.get(documentId) ?? [];
      const highest = Math.max(operation.version, ...others.map(({ version }) => version));
      last.set(
        documentId,
        [...others, operation].filter(({ version }) => version === highest),
      );
    }
  }
  return last;
}

function keyOf(documentId: string, text: string): string {
  return JSON.stringify([documentId, text]);
}
