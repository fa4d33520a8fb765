import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type IngestCall, MemoryIngest } from '../../../clients/testing/fake-service.ts';
import type { IngestsAnswer, IngestState } from '../shared/wire.ts';
import { MAX_CHUNK_BYTES } from '../shared/chunks-of.ts';
import { type Answer, type Bridge, serveBridge } from '../testing/bridge.ts';
import { MAX_RUNNING } from './ingests.ts';

const BEGIN = { name: 'f.jsonl', bytes: 10, collection: 'c', tenant: '', omitText: false };

async function withBridge(
  handle: (call: IngestCall) => Promise<void> | void,
  use: (bridge: Bridge) => Promise<void>,
): Promise<void> {
  // A call that is given up ends the fake in the middle of its reading.
  const bridge = await serveBridge({ Ingest: (call) => void Promise.resolve(handle(call)).catch(() => {}) });
  try {
    await use(bridge);
  } finally {
    await bridge.stop();
  }
}

async function begin({ ask }: Bridge): Promise<string> {
  const begun = await ask('POST', '/api/ingests', { body: BEGIN });
  assert.equal(begun.status, 201, begun.text);
  return (begun.json as IngestState).ingestId;
}

function send({ ask }: Bridge, id: string, offset: number, chunk: Buffer | string): Promise<Answer> {
  const headers = { 'content-type': 'application/octet-stream' };
  return ask('POST', `/api/ingests/${id}/chunks?offset=${offset}`, { headers, body: Buffer.from(chunk) });
}

/** Asks until the ingest has ended. */
async function ended({ ask }: Bridge, id: string): Promise<IngestState> {
  for (;;) {
    const { json } = await ask('GET', '/api/ingests');
    const state = (json as IngestsAnswer).ingests.find(({ ingestId }) => ingestId === id);
    if (state !== undefined && state.state !== 'running') return state;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const LINES = [
  '{"id":"a","text":"é"}',
  '{"id":"b"',
  '',
  '{"id":"c","text":"x"}',
  '{"colour":"red"}',
  '{"id":"d","title":"last, without an end"}',
];

describe('a file', () => {
  test('cut anywhere, even within a character, arrives whole; lines that are no documents are told', async () => {
    const memory = new MemoryIngest();
    const file = Buffer.from(LINES.join('\n'));
    await withBridge(memory.handle, async (bridge) => {
      const id = await begin(bridge);
      const cuts = [0, file.indexOf(0xc3) + 1, file.length - 5, file.length];
      for (const [index, start] of cuts.slice(0, -1).entries()) {
        const sent = await send(bridge, id, start, file.subarray(start, cuts[index + 1]));
        assert.equal(sent.status, 200, sent.text);
        assert.equal((sent.json as IngestState).receivedBytes, cuts[index + 1]);
      }
      const headers = { 'content-type': 'application/json' };
      await bridge.ask('POST', `/api/ingests/${id}/end`, { headers, body: {} });
      const state = await ended(bridge, id);
      assert.equal(state.state, 'done');
      assert.deepEqual(
        [state.sent, state.indexed, state.rejected, state.watermark, state.waiting],
        [5, 3, 2, 6, 0],
      );
      assert.deepEqual(
        state.rejections.map(({ line }) => line),
        [2, 5],
      );
      assert.match(state.rejections[1]!.message, /"colour".*"metadata"/);
    });
    assert.deepEqual([...memory.documents.keys()], ['a', 'c', 'd']);
    assert.deepEqual(memory.arrivals, [[1, 4, 6]]);
  });

  test('a chunk that was answered to nobody may be sent again; one that does not fit is refused', async () => {
    const memory = new MemoryIngest();
    await withBridge(memory.handle, async (bridge) => {
      const id = await begin(bridge);
      const line = '{"id":"a","text":"x"}\n';
      await send(bridge, id, 0, line);
      const again = await send(bridge, id, 0, line);
      assert.equal(again.status, 200);
      assert.equal((again.json as IngestState).receivedBytes, line.length);
      const gap = await send(bridge, id, line.length + 1, line);
      assert.equal(gap.status, 409);
      assert.match(gap.text, new RegExp(`begins at byte ${line.length}`));
      await bridge.ask('POST', `/api/ingests/${id}/end`, { body: {} });
      assert.equal((await ended(bridge, id)).sent, 1);
      assert.equal((await send(bridge, id, line.length, line)).status, 409);
    });
  });

  test('of any size waits for a service that is slow, and does not pile up here', async () => {
    let read = 0;
    let release = (): void => {};
    const released = new Promise<void>((resolve) => (release = resolve));
    const slow = async (call: IngestCall): Promise<void> => {
      call.on('error', () => {});
      const requests = call.iterator({ destroyOnReturn: false });
      for await (const request of requests) {
        if ((request as { begin: unknown }).begin) call.write({ ready: {} });
        else if (++read === 1) await released;
      }
      call.end();
    };
    await withBridge(slow, async (bridge) => {
      const id = await begin(bridge);
      const text = 'x'.repeat(100_000);
      const chunk = Buffer.from(
        Array.from({ length: 5 }, (_, index) => `{"id":"${index}","text":"${text}"}\n`).join(''),
      );
      assert.ok(chunk.length < MAX_CHUNK_BYTES);
      let taken = 0;
      // The client keeps 32 MiB for sending again; past that, and what connections hold, nobody is answered.
      for (let stalled = false; !stalled;) {
        const answered = send(bridge, id, taken * chunk.length, chunk).then(() => true);
        const timeout = new Promise<boolean>((resolve) => setTimeout(resolve, 1000, false));
        stalled = !(await Promise.race([answered, timeout]));
        if (!stalled) taken++;
        assert.ok(taken < 80, `${taken} chunks were taken`);
      }
      const cancelled = await bridge.ask('DELETE', `/api/ingests/${id}`);
      assert.equal((cancelled.json as IngestState).state, 'cancelled');
      release();
    });
  });

  test('for a service that ends the stream fails with its reason', async () => {
    const refuse = (call: IngestCall): void => {
      call.emit('error', Object.assign(new Error('no'), { code: 9, details: 'the space is another' }));
    };
    await withBridge(refuse, async (bridge) => {
      const id = await begin(bridge);
      const state = await ended(bridge, id);
      assert.deepEqual([state.state, state.problem], ['failed', 'the space is another']);
    });
  });
});

test('a few files at a time', async () => {
  await withBridge(new MemoryIngest().handle, async (bridge) => {
    const ids: string[] = [];
    for (let count = 0; count < MAX_RUNNING; count++) ids.push(await begin(bridge));
    const more = await bridge.ask('POST', '/api/ingests', { body: BEGIN });
    assert.equal(more.status, 429);
    assert.match(more.text, /wait for one of them, or cancel it/);
    await bridge.ask('DELETE', `/api/ingests/${ids[0]}`);
    await begin(bridge);
    assert.equal((await bridge.ask('DELETE', '/api/ingests/nowhere')).status, 404);
    assert.equal(
      (await bridge.ask('POST', '/api/ingests', { body: { ...BEGIN, collection: '' } })).status,
      400,
    );
  });
});
