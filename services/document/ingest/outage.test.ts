import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { useQdrant } from '../../../store/qdrant/testing/engine.ts';
import { optionalTool } from '../../../test/testing/optional-tool.ts';
import { startProxy } from '../../runtime/testing/proxy.ts';
import { eventually, startHarness } from '../testing/harness.ts';
import { openQdrant, TestStore } from '../testing/test-store.ts';

const DOCUMENTS = 2000;
const BUDGET = 8192;

const qdrant = useQdrant(() => optionalTool('qdrant-engine'));

test(
  'a server that goes away twice in the middle of a stream is waited for, and the stream ends by itself',
  { skip: qdrant.skip },
  async (context) => {
    const proxy = await startProxy(qdrant.url);
    context.after(() => proxy.close());
    const store = new TestStore(await openQdrant(proxy.url));
    const { ingest, pipeline, tower, stop } = await startHarness({
      store,
      settings: { budgetTokens: BUDGET },
    });
    try {
      const stream = ingest();
      for (let sequence = 1; sequence <= DOCUMENTS; sequence++) {
        stream.document(sequence, `d${sequence}`, `one ${sequence}|two ${sequence}`);
      }
      for (const at of [300, 900]) {
        await stream.durable(at);
        await proxy.cut();
        const before = tower.encoded;
        // What was under way is encoded, and then nobody takes more in.
        await eventually(() => pipeline.tokensInFlight >= BUDGET && tower.busy === 0);
        await new Promise((resolve) => setTimeout(resolve, 300));
        const stored = store.writes.flat().length;
        assert.ok(stream.watermark <= stored, `${stream.watermark} are acknowledged, ${stored} are stored`);
        assert.ok(stored < DOCUMENTS, 'some are still to be written');
        assert.ok(tower.encoded - before < DOCUMENTS, 'senders wait');
        await proxy.mend();
      }
      const ended = await stream.finish();
      assert.equal(ended.status.code, status.OK);
      assert.equal(ended.watermark, DOCUMENTS);
      assert.ok(ended.outcomes.every(({ kind }) => kind === 'OUTCOME_KIND_INDEXED'));
      assert.deepEqual(await store.count('docs', ''), { documents: DOCUMENTS, passages: 2 * DOCUMENTS });
      await store.dispose();
    } finally {
      await stop();
    }
  },
);
