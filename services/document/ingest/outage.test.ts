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
  async () => {
    const proxy = await startProxy(qdrant.url);
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
        const acknowledged = stream.watermark;
        await new Promise((resolve) => setTimeout(resolve, 300));
        assert.equal(stream.watermark, acknowledged, 'nothing is acknowledged that is not stored');
        assert.ok(tower.encoded - before < DOCUMENTS, 'senders wait');
        await proxy.mend();
      }
      const ended = await stream.finish();
      assert.equal(ended.status.code, status.OK);
      assert.equal(ended.watermark, DOCUMENTS);
      assert.ok(ended.outcomes.every(({ kind }) => kind === 'OUTCOME_KIND_INDEXED'));
      assert.deepEqual(await store.count('docs', ''), { documents: DOCUMENTS, passages: 2 * DOCUMENTS });
    } finally {
      await stop();
      await proxy.mend().catch(() => {});
      await store.dispose();
      await proxy.close();
    }
  },
);
