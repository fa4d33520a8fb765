import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { status as Code } from '@grpc/grpc-js';
import * as fc from 'fast-check';
import { DocumentClient, type IngestOperation, type IngestOutcome, type ScalingnoteError } from './index.ts';
import {
  failure,
  type FakeService,
  type Fault,
  type IngestCall,
  MemoryIngest,
  serve,
} from './testing/fake-service.ts';

const unavailable = (call: IngestCall): void => {
  call.emit('error', failure({ code: Code.UNAVAILABLE, message: 'gone', reason: 'GONE' }));
};
const draining = (call: IngestCall): void => {
  call.emit(
    'error',
    failure({ code: Code.UNAVAILABLE, message: 'draining', reason: 'SHUTTING_DOWN', retryDelayMs: 5 }),
  );
};
const quiet = (call: IngestCall): void => {
  call.end();
};

function* documents(count: number): Generator<IngestOperation> {
  for (let index = 1; index <= count; index++) yield { id: `d${index}`, text: `text ${index}` };
}

interface Run {
  server: MemoryIngest;
  outcomes: IngestOutcome[];
  watermarks: number[];
  reconnects: ScalingnoteError[];
}

/** Ingests `count` documents into a service with faults, and holds the result to what is promised. */
async function ingestThrough(faults: readonly Fault[], count: number, window?: number): Promise<Run> {
  const server = new MemoryIngest(faults);
  using service = await serve({ Ingest: server.handle });
  using client = new DocumentClient({ address: service.address });
  const run: Run = { server, outcomes: [], watermarks: [], reconnects: [] };
  const summary = await client.ingest(documents(count), {
    collection: 'c',
    // A client that never finishes has to fail, not hang.
    patienceMs: 1_000,
    signal: AbortSignal.timeout(10_000),
    onOutcome: (outcome) => run.outcomes.push(outcome),
    onWatermark: (sequence) => run.watermarks.push(sequence),
    onReconnect: (error) => run.reconnects.push(error),
    ...(window === undefined ? {} : { window }),
  });
  assert.deepEqual(
    run.outcomes.map(({ sequence }) => sequence).sort((a, b) => a - b),
    Array.from({ length: count }, (_, index) => index + 1),
    'every operation is reported exactly once',
  );
  assert.equal(server.documents.size, count, 'nothing is lost, nothing doubles');
  assert.deepEqual(
    run.watermarks,
    [...new Set(run.watermarks)].sort((a, b) => a - b),
    'watermarks only rise',
  );
  assert.equal(summary.watermark, count);
  assert.equal(summary.sent, count);
  assert.equal(summary.indexed + summary.unchanged, count);
  return run;
}

describe('ingest', () => {
  test('reports every operation and the last watermark', async () => {
    const { outcomes, server } = await ingestThrough([], 50);
    assert.equal(outcomes[0]?.kind, 'indexed');
    assert.equal(outcomes[0]?.id, 'd1');
    assert.equal(server.arrivals.length, 1);
  });

  test('an empty source is done at once', async () => {
    const { server } = await ingestThrough([], 0);
    assert.deepEqual(server.arrivals, [[]]);
  });

  const points: [string, Fault][] = [
    ['before the stream is open', { after: 0, outcomes: false, durable: 0, end: unavailable }],
    ['before any outcome', { after: 7, outcomes: false, durable: 0, end: unavailable }],
    ['after outcomes, before the watermark', { after: 7, outcomes: true, durable: 0, end: unavailable }],
    ['half of it durable', { after: 10, outcomes: true, durable: 5, end: unavailable }],
    ['draining, all of it durable', { after: 10, outcomes: true, durable: 10, end: draining }],
    ['without an error, too early', { after: 10, outcomes: true, durable: 5, end: quiet }],
  ];
  for (const [name, fault] of points) {
    test(`a connection that ends ${name}`, async () => {
      const { server, reconnects } = await ingestThrough([fault], 30);
      assert.equal(server.arrivals.length, 2);
      assert.equal(reconnects.length, 1);
      assert.equal(server.arrivals[1]?.[0], fault.durable + 1, 'goes on right after the watermark');
      assert.equal(server.arrivals[1]?.length, 30 - fault.durable);
    });
  }

  test('what is durable makes room for more bytes', async () => {
    using service = await serve({ Ingest: new MemoryIngest().handle });
    using client = new DocumentClient({ address: service.address });
    const text = 'x'.repeat(3 * 1024 * 1024);
    const source = Array.from({ length: 16 }, (_, index) => ({ id: `d${index}`, text }));
    const signal = AbortSignal.timeout(20_000);
    assert.equal((await client.ingest(source, { collection: 'c', signal })).watermark, 16);
  });

  test('waits begin again from the shortest one when something became durable', async (context) => {
    context.mock.method(Math, 'random', () => 0.999);
    const fault: Fault = { after: 3, outcomes: true, durable: 2, end: unavailable };
    using service = await serve({ Ingest: new MemoryIngest([fault, fault, fault]).handle });
    using client = new DocumentClient({ address: service.address });
    const waits: number[] = [];
    const onReconnect = (_: unknown, waitMs: number): number => waits.push(waitMs);
    await client.ingest(documents(12), { collection: 'c', onReconnect });
    assert.equal(waits.length, 3);
    for (const wait of waits) assert.ok(wait < 100, `waited ${wait} ms`);
  });

  test('a connection that breaks while there is nothing to send does not cost patience', async (context) => {
    context.mock.method(Math, 'random', () => 0);
    let connections = 0;
    let end = (): void => {};
    const last = new Promise<void>((resolve) => (end = resolve));
    using service = await serve({
      Ingest: (call) => {
        if (++connections === 6) end();
        call.on('error', () => {}).on('data', () => {});
        call.write({ ready: {} });
        if (connections < 6) setTimeout(() => unavailable(call), 40);
        else call.on('end', () => call.end());
      },
    });
    using client = new DocumentClient({ address: service.address });
    const signal = AbortSignal.timeout(20_000);
    const source: AsyncIterable<IngestOperation> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          await last;
          return { done: true, value: undefined };
        },
      }),
    };
    await client.ingest(source, {
      collection: 'c',
      patienceMs: 60,
      signal,
    });
    assert.equal(connections, 6);
  });

  test('the server says how long to stay away', async () => {
    const asked: number[] = [];
    const server = new MemoryIngest([{ after: 3, outcomes: true, durable: 3, end: draining }]);
    using service = await serve({ Ingest: server.handle });
    using client = new DocumentClient({ address: service.address });
    await client.ingest(documents(5), {
      collection: 'c',
      onReconnect: (error, waitMs) => {
        assert.equal(error.reason, 'SHUTTING_DOWN');
        asked.push(waitMs);
      },
    });
    assert.equal(asked.length, 1);
    assert.ok(asked[0]! >= 5, `waits ${asked[0]} ms`);
  });

  test('a server that is killed and comes back', async () => {
    const dying = new MemoryIngest([{ after: 4, outcomes: true, durable: 2, end: () => first.close() }]);
    const first = await serve({ Ingest: dying.handle });
    const reborn = new MemoryIngest();
    let second: Promise<FakeService> | undefined;
    using client = new DocumentClient({ address: first.address });
    const outcomes: number[] = [];
    const summary = await client.ingest(documents(20), {
      collection: 'c',
      onOutcome: ({ sequence }) => outcomes.push(sequence),
      onReconnect: () => {
        second ??= serve({ Ingest: reborn.handle }, Number(first.address.split(':')[1]));
      },
    });
    (await second)?.close();
    assert.equal(summary.watermark, 20);
    assert.deepEqual(
      outcomes.sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
    assert.equal(new Set([...dying.documents.keys(), ...reborn.documents.keys()]).size, 20);
  });

  test('whatever breaks, and however often: nothing lost, nothing doubled, everything reported once', async () => {
    const fault = fc.record({
      after: fc.nat(12),
      outcomes: fc.boolean(),
      durable: fc.nat(12),
      end: fc.constantFrom(unavailable, draining, quiet),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fault, { maxLength: 3 }),
        fc.nat(40),
        fc.integer({ min: 13, max: 64 }),
        async (faults, count, window) => {
          const honest = faults.map((each) => ({ ...each, durable: each.outcomes ? each.durable : 0 }));
          await ingestThrough(honest, count, window);
        },
      ),
      { numRuns: 25, endOnFailure: true },
    );
  });

  test('gives up when nothing gets through for too long', async () => {
    using client = new DocumentClient({ address: '127.0.0.1:1' });
    await assert.rejects(
      client.ingest(documents(1), { collection: 'c', patienceMs: 100 }),
      (error: ScalingnoteError) => error.code === 'UNAVAILABLE' && error.retryable,
    );
  });

  test('what no repetition mends ends it at once', async () => {
    let connections = 0;
    using service = await serve({
      Ingest: (call) => {
        connections++;
        call.emit(
          'error',
          failure({
            code: Code.FAILED_PRECONDITION,
            message: 'another space',
            reason: 'SPACE_MISMATCH',
            metadata: { tower_space: 'sp1_a' },
          }),
        );
      },
    });
    using client = new DocumentClient({ address: service.address });
    await assert.rejects(client.ingest(documents(3), { collection: 'c' }), (error: ScalingnoteError) => {
      assert.equal(error.code, 'FAILED_PRECONDITION');
      assert.equal(error.reason, 'SPACE_MISMATCH');
      assert.equal(error.metadata['tower_space'], 'sp1_a');
      return true;
    });
    assert.equal(connections, 1);
  });
});

/** An endless source that counts how often it was pulled. */
function counting(text: string): Iterable<IngestOperation> & { settled(): Promise<number> } {
  let pulled = 0;
  return {
    *[Symbol.iterator]() {
      for (;;) yield { id: `d${++pulled}`, text };
    },
    /** How often it was pulled, once nobody has pulled for a while. */
    async settled() {
      for (;;) {
        const before = pulled;
        await sleep(100);
        if (before > 0 && pulled === before) return pulled;
      }
    },
  };
}

describe('backpressure of an ingest', () => {
  test('the source is not pulled beyond the window', async () => {
    const source = counting('x');
    const stop = new AbortController();
    using service = await serve({
      // Ready, and then it reads but nothing ever becomes durable.
      Ingest: (call) => {
        call.on('data', () => {});
        call.on('error', () => {});
        call.write({ ready: {} });
      },
    });
    using client = new DocumentClient({ address: service.address });
    const ingest = client.ingest(source, { collection: 'c', window: 32, signal: stop.signal });
    assert.equal(await source.settled(), 32);
    stop.abort(new Error('enough'));
    await assert.rejects(ingest, /enough/);
  });

  test('a server that stops reading stops the source, long before the window is full', async () => {
    const text = 'x'.repeat(64 * 1024);
    const source = counting(text);
    const stop = new AbortController();
    using service = await serve({
      Ingest: (call) => {
        call.on('error', () => {});
        call.once('data', () => {
          call.pause();
          call.write({ ready: {} });
        });
      },
    });
    using client = new DocumentClient({ address: service.address });
    const ingest = client.ingest(source, { collection: 'c', window: 100_000, signal: stop.signal });
    const pulled = await source.settled();
    // What fits into both sides' buffers, not the 32 MiB that the window would take.
    assert.ok(pulled * text.length < 16 * 1024 * 1024, `${pulled} documents of 64 KiB were pulled`);
    stop.abort(new Error('enough'));
    await assert.rejects(ingest, /enough/);
  });

  test('a connection that breaks while the source is slow loses nothing that the source gives later', async () => {
    const server = new MemoryIngest([{ after: 1, outcomes: true, durable: 1, end: draining }]);
    using service = await serve({ Ingest: server.handle });
    using client = new DocumentClient({ address: service.address });
    const reconnected = new AbortController();
    const summary = await client.ingest(
      (async function* () {
        yield { id: 'a', text: 'a' };
        // The first connection ends while this waits.
        if (!reconnected.signal.aborted) {
          await new Promise((resolve) => reconnected.signal.addEventListener('abort', resolve));
        }
        yield { id: 'b', text: 'b' };
      })(),
      { collection: 'c', onReconnect: () => reconnected.abort() },
    );
    assert.equal(summary.indexed, 2);
    assert.deepEqual(server.arrivals, [[1], [2]]);
  });
});

describe('an ingest and its caller', () => {
  const server = new MemoryIngest();
  const started = serve({ Ingest: server.handle });
  const connected = started.then(({ address }) => new DocumentClient({ address }));
  after(async () => {
    (await connected).close();
    (await started).close();
  });

  test('what the source throws ends it, and is what the caller gets', async () => {
    const client = await connected;
    await assert.rejects(
      client.ingest(
        (async function* () {
          yield { id: 'a', text: 'a' };
          throw new Error('the disk is gone');
        })(),
        { collection: 'c' },
      ),
      /the disk is gone/,
    );
  });

  test('what a callback throws ends it, and is what the caller gets', async () => {
    const client = await connected;
    await assert.rejects(
      client.ingest(documents(3), {
        collection: 'c',
        onOutcome: () => {
          throw new Error('no room for outcomes');
        },
      }),
      /no room for outcomes/,
    );
  });

  test('the source is closed when the ingest is given up', async () => {
    const client = await connected;
    let released = false;
    const stop = new AbortController();
    const source = (function* () {
      try {
        for (let index = 1; ; index++) yield { id: `d${index}`, text: 'x' };
      } finally {
        released = true;
      }
    })();
    const ingest = client.ingest(source, {
      collection: 'c',
      signal: stop.signal,
      onOutcome: () => stop.abort(new Error('enough')),
    });
    await assert.rejects(ingest, /enough/);
    await turn();
    assert.ok(released);
  });

  test('a sequence that does not rise is the caller’s mistake', async () => {
    const client = await connected;
    await assert.rejects(
      client.ingest(
        [
          { id: 'a', text: 'a', sequence: 5 },
          { id: 'b', text: 'b', sequence: 5 },
        ],
        { collection: 'c' },
      ),
      /sequence is 5, but must be a whole number above 5/,
    );
  });

  test('what cannot be sent is rejected alone, and everything else goes through', async () => {
    const client = await connected;
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    const outcomes = new Map<string, IngestOutcome>();
    const watermarks: number[] = [];
    const summary = await client.ingest(
      [
        { id: 'good', text: 'x' },
        { id: 'half', text: 'half a pair \ud83d' },
        { id: 'nan', text: 'x', metadata: { price: Number.NaN } },
        { id: 'date', text: 'x', metadata: { at: new Date(0) } },
        { id: 'circular', text: 'x', metadata: circular },
        { id: 'key', text: 'x', metadata: { list: [{ '\udc00': 1 }] } },
        { id: 'deep', text: 'x', metadata: { list: [{ name: '\udc00' }] } },
        { id: 'version', text: 'x', version: -1 },
        { id: 'huge', text: 'x'.repeat(33 * 1024 * 1024) },
        { delete: 'gone', version: 1.5 },
        { id: 'last', text: '\ud800' },
      ],
      {
        collection: 'c',
        onOutcome: (outcome) => outcomes.set(outcome.id, outcome),
        onWatermark: (sequence) => watermarks.push(sequence),
      },
    );
    const message = (id: string): string | undefined => outcomes.get(id)?.error?.message;
    assert.equal(outcomes.get('good')?.kind, 'indexed');
    assert.match(message('half') ?? '', /^text: holds half a surrogate pair; repair it with/);
    assert.match(message('nan') ?? '', /metadata\.price is not a JSON value/);
    assert.match(message('date') ?? '', /metadata\.at is not a JSON value/);
    assert.match(message('circular') ?? '', /^metadata: metadata(\.self)+ is nested deeper than 32 levels/);
    assert.match(message('key') ?? '', /^a key of metadata\.list\[0\]: holds half/);
    assert.match(message('deep') ?? '', /^metadata\.list\[0\]\.name: holds half/);
    assert.match(message('version') ?? '', /^version: is -1, but must be a whole number/);
    assert.match(message('huge') ?? '', /^document: has 34603012 bytes/);
    assert.match(message('gone') ?? '', /^version: is 1\.5/);
    assert.equal(outcomes.get('half')?.error?.code, 'INVALID_ARGUMENT');
    assert.deepEqual(outcomes.get('half')?.error?.violations[0]?.field, 'text');
    assert.deepEqual(
      { ...summary, identity: '', freshnessToken: '' },
      {
        sent: 11,
        indexed: 1,
        unchanged: 0,
        deleted: 0,
        rejected: 10,
        watermark: 11,
        identity: '',
        freshnessToken: '',
      },
    );
    assert.equal(watermarks.at(-1), 11, 'what was rejected last is settled, and said to be');
  });

  test('the rejection that a server sends has its reason and its fields', async () => {
    using service = await serve({
      Ingest: (call) => {
        call.on('data', (request: { sequence: string; begin?: object }) => {
          if (request.begin) {
            call.write({ ready: {} });
            return;
          }
          call.write({
            outcome: {
              sequence: request.sequence,
              documentId: '',
              kind: 'OUTCOME_KIND_REJECTED',
              error: { code: Code.ABORTED, message: 'version 1 is lower than the stored 2', details: [] },
            },
          });
          call.write({ watermark: { sequence: request.sequence } });
        });
        call.on('end', () => call.end());
      },
    });
    using client = new DocumentClient({ address: service.address });
    const outcomes: IngestOutcome[] = [];
    const summary = await client.ingest([{ id: 'a', text: 'a', version: 1, sequence: 41 }], {
      collection: 'c',
      onOutcome: (outcome) => outcomes.push(outcome),
    });
    assert.equal(summary.rejected, 1);
    assert.equal(summary.watermark, 41);
    assert.equal(outcomes[0]?.id, 'a');
    assert.equal(outcomes[0]?.error?.code, 'ABORTED');
    assert.match(outcomes[0]?.error?.message ?? '', /lower than the stored/);
  });
});
