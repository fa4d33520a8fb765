import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type sendUnaryData, type ServerDuplexStream, status as Code } from '@grpc/grpc-js';
import type { CountRequest__Output } from '../proto/generated/scalingnote/v1/CountRequest.ts';
import type { DeleteRequest__Output } from '../proto/generated/scalingnote/v1/DeleteRequest.ts';
import type { DropCollectionRequest__Output } from '../proto/generated/scalingnote/v1/DropCollectionRequest.ts';
import type { SwitchAliasRequest__Output } from '../proto/generated/scalingnote/v1/SwitchAliasRequest.ts';
import type { SearchRequest__Output } from '../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { SearchStreamRequest__Output } from '../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { SearchStreamResponse } from '../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import { packStatus } from '../proto/status.ts';
import { toStruct } from '../proto/struct.ts';
import { type ClientOptions, DocumentClient, QueryClient, ScalingnoteError } from './index.ts';
import { failure, type Handlers, serve } from './testing/fake-service.ts';

const TOWER = {
  name: 'tiny',
  role: 'TOWER_ROLE_QUERY',
  space: { fingerprint: 'sp1_0123', dimensions: 3 },
  device: 'cpu',
  maxTokens: 64,
  retention: 0.95,
} as const;

async function withQueries(
  handlers: Handlers,
  use: (client: QueryClient) => Promise<void>,
  options: ClientOptions = {},
): Promise<void> {
  const service = await serve(handlers);
  const client = new QueryClient({ ...options, address: service.address });
  try {
    await use(client);
  } finally {
    client.close();
    service.close();
  }
}

async function withDocuments(
  handlers: Handlers,
  use: (client: DocumentClient) => Promise<void>,
): Promise<void> {
  const service = await serve(handlers);
  const client = new DocumentClient({ address: service.address });
  try {
    await use(client);
  } finally {
    client.close();
    service.close();
  }
}

/** A handler that fails as often as it is told to, then answers with nothing found. */
function flaky(times: number, code: Code, extra: { reason?: string; retryDelayMs?: number } = {}) {
  const calls: number[] = [];
  const Search = (_: unknown, callback: sendUnaryData<object>): void => {
    calls.push(Date.now());
    if (calls.length > times) callback(null, {});
    else callback(failure({ code, message: 'try again', reason: 'FLAKY', ...extra }));
  };
  return { calls, handlers: { Search } };
}

const SEARCH = { collection: 'c', query: 'q' };

describe('search', () => {
  test('asks what it was told to ask, and answers with plain values', async () => {
    let asked: SearchRequest__Output | undefined;
    const Search: Handlers['Search'] = (call, callback) => {
      asked = call.request;
      const metadata = toStruct({ pos: 'noun', tags: ['a', 1, null, { deep: true }] });
      const hit = { documentId: 'd', score: 0.5, title: 't', passage: 2, text: 'x', metadata, version: '7' };
      callback(null, {
        hits: [hit],
        timings: { tokenizeMs: 1, queueMs: 2, encodeMs: 3, searchMs: 4, totalMs: 10, cached: true },
        queryTower: TOWER,
      });
    };
    await withQueries({ Search }, async (client) => {
      const { hits, timings, queryTower } = await client.search({
        collection: 'c',
        tenant: 'me',
        query: 'stars',
        limit: 3,
        offset: 1,
        scoreThreshold: 0.1,
        mode: 'hybrid',
        omitText: true,
        atLeastAsFreshAs: 'token',
        filter: {
          must: [
            { field: 'metadata.pos', equals: 'noun' },
            { filter: { should: [{ field: 'metadata.a', exists: true }] } },
          ],
          mustNot: [
            { field: 'metadata.n', range: { gte: 0, lt: 5 } },
            { field: 'metadata.b', anyOf: [true, false] },
          ],
        },
      });
      assert.deepEqual(hits, [
        {
          id: 'd',
          score: 0.5,
          title: 't',
          passage: 2,
          text: 'x',
          metadata: { pos: 'noun', tags: ['a', 1, null, { deep: true }] },
          version: 7,
        },
      ]);
      assert.deepEqual(timings, {
        tokenizeMs: 1,
        queueMs: 2,
        encodeMs: 3,
        searchMs: 4,
        totalMs: 10,
        cached: true,
      });
      assert.deepEqual(queryTower, { ...TOWER, role: 'query' });
    });
    assert.equal(asked?.tenant, 'me');
    assert.equal(asked?.limit, 3);
    assert.equal(asked?.offset, 1);
    assert.equal(asked?.scoreThreshold, 0.1);
    assert.equal(asked?.mode, 'SEARCH_MODE_HYBRID');
    assert.equal(asked?.omitText, true);
    assert.equal(asked?.omitMetadata, false);
    assert.equal(asked?.atLeastAsFreshAs, 'token');
    const [equals, nested] = asked?.filter?.must ?? [];
    assert.equal(equals?.equals?.field, 'metadata.pos');
    assert.equal(equals?.equals?.value?.stringValue, 'noun');
    assert.equal(nested?.filter?.should[0]?.exists?.field, 'metadata.a');
    const [range, anyOf] = asked?.filter?.mustNot ?? [];
    assert.equal(range?.range?.gte, 0);
    assert.equal(range?.range?.lt, 5);
    assert.equal(range?.range?.gt, undefined);
    assert.deepEqual(
      anyOf?.anyOf?.values.map(({ boolValue }) => boolValue),
      [true, false],
    );
  });

  test('leaves to the server what was not given', async () => {
    let asked: SearchRequest__Output | undefined;
    const Search: Handlers['Search'] = (call, callback) => {
      asked = call.request;
      callback(null, {});
    };
    await withQueries({ Search }, async (client) => {
      assert.deepEqual((await client.search(SEARCH)).hits, []);
    });
    assert.equal(asked?.limit, undefined);
    assert.equal(asked?.scoreThreshold, undefined);
    assert.equal(asked?.mode, 'SEARCH_MODE_UNSPECIFIED');
    assert.equal(asked?.filter, null);
  });

  for (const [name, request, message] of [
    ['half a surrogate pair in the tenant', { ...SEARCH, tenant: '\udc00' }, /^tenant: holds half/],
    [
      'more than a uint32',
      { ...SEARCH, offset: 2 ** 32 },
      /^offset: is 4294967296, but must be a whole number/,
    ],
    ['an empty token', { ...SEARCH, atLeastAsFreshAs: '' }, /^at_least_as_fresh_as: is empty/],
    ['a fraction', { ...SEARCH, limit: 1.5 }, /^limit: is 1\.5/],
    ['NaN', { ...SEARCH, limit: Number.NaN }, /^limit: is NaN/],
    ['half a surrogate pair', { ...SEARCH, query: 'x\ud83d' }, /^query: holds half a surrogate pair/],
    [
      'NaN in a filter',
      { ...SEARCH, filter: { must: [{ field: 'metadata.a', equals: Number.NaN }] } },
      /filter\.must\[0\]\.equals\.value is not a JSON value/,
    ],
  ] as const) {
    test(`says that it cannot send ${name}`, async () => {
      await withQueries({}, async (client) => {
        await assert.rejects(client.search(request), (error: ScalingnoteError) => {
          assert.ok(error instanceof ScalingnoteError);
          assert.equal(error.code, 'INVALID_ARGUMENT');
          assert.equal(error.retryable, false);
          assert.match(error.message, message);
          return true;
        });
      });
    });
  }
});

describe('errors', () => {
  test('come with reason, fields, values and advice', async () => {
    const Search: Handlers['Search'] = (_, callback) =>
      callback(
        failure({
          code: Code.INVALID_ARGUMENT,
          message: 'limit: is 0',
          reason: 'INVALID_ARGUMENT',
          metadata: { key: 'value' },
          violations: [{ field: 'limit', description: 'is 0' }],
        }),
      );
    await withQueries({ Search }, async (client) => {
      await assert.rejects(client.search(SEARCH), (error: ScalingnoteError) => {
        assert.ok(error instanceof ScalingnoteError);
        assert.equal(error.name, 'ScalingnoteError');
        assert.equal(error.message, 'limit: is 0');
        assert.equal(error.code, 'INVALID_ARGUMENT');
        assert.equal(error.reason, 'INVALID_ARGUMENT');
        assert.deepEqual(error.metadata, { key: 'value' });
        assert.equal(error.violations[0]?.field, 'limit');
        assert.equal(error.violations[0]?.description, 'is 0');
        assert.equal(error.retryable, false);
        assert.equal(error.retryDelayMs, undefined);
        return true;
      });
    });
  });

  test('details that are damaged do not hide the status', async () => {
    const Search: Handlers['Search'] = (_, callback) => {
      const error = failure({ code: Code.NOT_FOUND, message: 'no such collection', reason: 'X' });
      error.metadata.set('grpc-status-details-bin', Buffer.from([0xff, 0xff, 0xff]));
      callback(error);
    };
    await withQueries({ Search }, async (client) => {
      await assert.rejects(client.search(SEARCH), (error: ScalingnoteError) => {
        assert.equal(error.code, 'NOT_FOUND');
        assert.equal(error.message, 'no such collection');
        assert.equal(error.reason, '');
        return true;
      });
    });
  });

  test('a service that is not there', async () => {
    const client = new QueryClient({ address: '127.0.0.1:1', attempts: 1 });
    await assert.rejects(client.describe(), (error: ScalingnoteError) => {
      assert.equal(error.code, 'UNAVAILABLE');
      assert.equal(error.reason, '');
      assert.ok(error.retryable);
      return true;
    });
    client.close();
  });
});

describe('attempts', () => {
  for (const [code, advice] of [
    [Code.UNAVAILABLE, {}],
    [Code.RESOURCE_EXHAUSTED, { retryDelayMs: 1 }],
    [Code.CANCELLED, { reason: '' }],
  ] as const) {
    test(`${Code[code]} is tried again`, async () => {
      const service = flaky(2, code, advice);
      await withQueries(service.handlers, async (client) => {
        await client.search(SEARCH);
      });
      assert.equal(service.calls.length, 3);
    });
  }

  test('not before the time that the server names', async () => {
    const service = flaky(1, Code.RESOURCE_EXHAUSTED, { retryDelayMs: 120 });
    await withQueries(service.handlers, async (client) => {
      await client.search(SEARCH);
    });
    const [first, second] = service.calls;
    // A timer may fire a millisecond early.
    assert.ok(second! - first! >= 119, `tried again after ${second! - first!} ms`);
  });

  test('only as often as it is told to, and then the last failure is the answer', async () => {
    const service = flaky(9, Code.UNAVAILABLE);
    await withQueries(
      service.handlers,
      async (client) => {
        await assert.rejects(client.search(SEARCH), (error: ScalingnoteError) => error.reason === 'FLAKY');
      },
      { attempts: 2 },
    );
    assert.equal(service.calls.length, 2);
  });

  test('not when the wait would outlast the deadline', async () => {
    const service = flaky(9, Code.UNAVAILABLE, { retryDelayMs: 60_000 });
    await withQueries(service.handlers, async (client) => {
      await assert.rejects(client.search(SEARCH), (error: ScalingnoteError) => {
        assert.equal(error.code, 'UNAVAILABLE');
        assert.equal(error.retryDelayMs, 60_000);
        return true;
      });
    });
    assert.equal(service.calls.length, 1);
  });

  for (const code of [
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.FAILED_PRECONDITION,
    Code.INTERNAL,
    Code.RESOURCE_EXHAUSTED,
  ]) {
    test(`${Code[code]} with a reason and no advice is not tried again`, async () => {
      const service = flaky(1, code);
      await withQueries(service.handlers, async (client) => {
        await assert.rejects(client.search(SEARCH), (error: ScalingnoteError) => !error.retryable);
      });
      assert.equal(service.calls.length, 1);
    });
  }
});

describe('bounds of a call', () => {
  const hangs: Handlers = { Search: () => {} };

  test('the deadline reaches the server and ends the call', async () => {
    let remaining: number | undefined;
    const Search: Handlers['Search'] = (call) => {
      remaining = Number(call.getDeadline()) - Date.now();
    };
    await withQueries({ Search }, async (client) => {
      await assert.rejects(
        client.search(SEARCH, { timeoutMs: 200 }),
        (error: ScalingnoteError) => error.code === 'DEADLINE_EXCEEDED',
      );
      await assert.rejects(
        client.search(SEARCH, { timeoutMs: 0 }),
        ({ code, reason }: ScalingnoteError) =>
          code === 'DEADLINE_EXCEEDED' && reason === 'DEADLINE_EXCEEDED',
      );
    });
    assert.ok(remaining !== undefined && remaining > 0 && remaining <= 200, `remaining: ${remaining}`);
  });

  test('the client’s own timeout is the default', async () => {
    await withQueries(
      hangs,
      async (client) => {
        await assert.rejects(
          client.search(SEARCH),
          (error: ScalingnoteError) => error.code === 'DEADLINE_EXCEEDED',
        );
      },
      { timeoutMs: 100 },
    );
  });

  test('an abort ends the call with the signal’s reason', async () => {
    await withQueries(hangs, async (client) => {
      const stop = new AbortController();
      const search = client.search(SEARCH, { signal: stop.signal });
      setTimeout(() => stop.abort(new Error('the user typed on')), 20);
      await assert.rejects(search, /the user typed on/);
      await assert.rejects(client.search(SEARCH, { signal: stop.signal }), /the user typed on/);
    });
  });

  test('an abort ends the wait between attempts', async () => {
    await withQueries(flaky(9, Code.UNAVAILABLE, { retryDelayMs: 5000 }).handlers, async (client) => {
      const stop = new AbortController();
      const search = client.search(SEARCH, { signal: stop.signal });
      setTimeout(() => stop.abort(new Error('the user left')), 50);
      await assert.rejects(search, /the user left/);
    });
  });
});

describe('the other calls', () => {
  test('encode gives a vector for each text, in order', async () => {
    const Encode: Handlers['Encode'] = (call, callback) => {
      const embeddings = call.request.texts.map((text) => ({ values: [text.length, 0.5] }));
      callback(null, { embeddings, queryTower: TOWER });
    };
    await withQueries({ Encode }, async (client) => {
      const { embeddings, queryTower } = await client.encode(['a', 'abc']);
      assert.deepEqual(embeddings, [
        [1, 0.5],
        [3, 0.5],
      ]);
      assert.equal(queryTower.space.fingerprint, 'sp1_0123');
      await assert.rejects(client.encode(['a', '\udc00']), /^ScalingnoteError: texts\[1\]: holds half/);
    });
  });

  test('delete by ids and by filter', async () => {
    const asked: DeleteRequest__Output[] = [];
    const Delete: Handlers['Delete'] = (call, callback) => {
      asked.push(call.request);
      callback(null, { documents: '2', freshnessToken: 'token' });
    };
    await withDocuments({ Delete }, async (client) => {
      const deleted = { documents: 2, freshnessToken: 'token' };
      assert.deepEqual(await client.delete({ collection: 'c', documentIds: ['a', 'b'] }), deleted);
      const filter = { must: [{ field: 'metadata.old', equals: true }] };
      assert.deepEqual(await client.delete({ collection: 'c', tenant: 't', filter }), deleted);
    });
    assert.deepEqual(asked[0]?.documentIds, ['a', 'b']);
    assert.equal(asked[0]?.filter, null);
    assert.equal(asked[1]?.tenant, 't');
    assert.equal(asked[1]?.filter?.must[0]?.equals?.value?.boolValue, true);
  });

  test('count, collections, description', async () => {
    let asked: CountRequest__Output | undefined;
    const handlers: Handlers = {
      Count: (call, callback) => {
        asked = call.request;
        callback(null, { documents: '3', passages: '9007199254740991' });
      },
      ListCollections: (_, callback) =>
        callback(null, {
          collections: [
            {
              name: 'c',
              physicalName: 'c--sp1_0123',
              space: TOWER.space,
              documents: '3',
              passages: '4',
              identity: 'col_1',
            },
          ],
        }),
      Describe: (_, callback) =>
        callback(null, {
          service: { version: '1.2.3', pid: 42, uptimeSeconds: 1.5, tower: TOWER, store: 'embedded' },
        }),
    };
    await withDocuments(handlers, async (client) => {
      assert.deepEqual(await client.count({ collection: 'c' }), {
        documents: 3,
        passages: Number.MAX_SAFE_INTEGER,
      });
      assert.deepEqual(await client.listCollections(), [
        {
          name: 'c',
          physicalName: 'c--sp1_0123',
          space: TOWER.space,
          documents: 3,
          passages: 4,
          identity: 'col_1',
        },
      ]);
      const described = await client.describe();
      assert.deepEqual(described, {
        version: '1.2.3',
        pid: 42,
        uptimeSeconds: 1.5,
        tower: { ...TOWER, role: 'query' },
        store: 'embedded',
      });
    });
    assert.equal(asked?.filter, null);
  });

  test('aliases are listed and switched', async () => {
    const asked: SwitchAliasRequest__Output[] = [];
    const handlers: Handlers = {
      ListAliases: (_, callback) =>
        callback(null, { aliases: [{ name: 'c', physicalName: 'c--sp1_01234567' }] }),
      SwitchAlias: (call, callback) => {
        asked.push(call.request);
        callback(null, { previousPhysicalName: asked.length === 1 ? '' : 'c--sp1_01234567' });
      },
    };
    await withDocuments(handlers, async (client) => {
      assert.deepEqual([...(await client.listAliases())], [['c', 'c--sp1_01234567']]);
      assert.deepEqual(await client.switchAlias('c', 'd--sp1_01234567'), { previous: undefined });
      assert.deepEqual(await client.switchAlias('c', 'd--sp1_01234567'), { previous: 'c--sp1_01234567' });
    });
    assert.deepEqual({ ...asked[0] }, { alias: 'c', physicalName: 'd--sp1_01234567' });
  });

  test('a collection is dropped once, and aliases only where that was said', async () => {
    const asked: DropCollectionRequest__Output[] = [];
    const DropCollection: Handlers['DropCollection'] = (call, callback) => {
      asked.push(call.request);
      if (asked.length < 3) callback(null, { aliases: ['c'] });
      else callback(failure({ code: Code.UNAVAILABLE, message: 'away', reason: 'STORE_UNAVAILABLE' }));
    };
    await withDocuments({ DropCollection }, async (client) => {
      assert.deepEqual(await client.dropCollection('c--sp1_01234567'), { aliases: ['c'] });
      await client.dropCollection('c--sp1_01234567', { withAliases: true });
      await assert.rejects(
        client.dropCollection('c--sp1_01234567'),
        (error: ScalingnoteError) => error.reason === 'STORE_UNAVAILABLE',
      );
    });
    assert.deepEqual(
      asked.map(({ withAliases }) => withAliases),
      [false, true, false],
    );
  });
});

describe('search as you type', () => {
  type Call = ServerDuplexStream<SearchStreamRequest__Output, SearchStreamResponse>;

  function answering(answer: (call: Call, request: SearchStreamRequest__Output, stream: number) => void) {
    const opened: Call[] = [];
    const SearchStream = (call: Call): void => {
      const stream = opened.push(call);
      call.on('data', (request: SearchStreamRequest__Output) => answer(call, request, stream));
      call.on('end', () => call.end());
    };
    return { opened, handlers: { SearchStream } };
  }

  test('every query has its own answer: a result, a failure, or a newer query', async () => {
    const { opened, handlers } = answering((call, { sequence, search }) => {
      if (search?.query === 'bad') {
        const error = packStatus({
          code: Code.NOT_FOUND,
          message: 'no collection',
          reason: 'COLLECTION_NOT_FOUND',
        });
        call.write({ sequence, error });
      } else if (search?.query === 'a') {
        call.write({ sequence, superseded: { bySequence: '2' } });
      } else {
        call.write({ sequence, result: { hits: [{ documentId: search?.query ?? '' }] } });
      }
    });
    await withQueries(handlers, async (client) => {
      const stream = client.searchStream();
      const [first, second] = await Promise.all([
        stream.search({ collection: 'c', query: 'a' }),
        stream.search({ collection: 'c', query: 'as' }),
      ]);
      assert.equal(first, undefined);
      assert.equal(second?.hits[0]?.id, 'as');
      await assert.rejects(
        stream.search({ collection: 'c', query: 'bad' }),
        (error: ScalingnoteError) => error.reason === 'COLLECTION_NOT_FOUND',
      );
      assert.equal((await stream.search({ collection: 'c', query: 'ast' }))?.hits[0]?.id, 'ast');
      stream.close();
      await assert.rejects(stream.search(SEARCH), /the search stream is closed/);
    });
    assert.equal(opened.length, 1);
  });

  test('a stream that broke is opened again, and the newest query asked again', async () => {
    const { opened, handlers } = answering((call, { sequence, search }, stream) => {
      if (stream > 1) {
        call.write({ sequence, result: { hits: [{ documentId: search?.query ?? '' }] } });
      } else if (search?.query === 'as') {
        call.emit('error', failure({ code: Code.UNAVAILABLE, message: 'draining', reason: 'SHUTTING_DOWN' }));
      }
    });
    await withQueries(handlers, async (client) => {
      const stream = client.searchStream();
      const [older, newest] = await Promise.all([
        stream.search({ collection: 'c', query: 'a' }),
        stream.search({ collection: 'c', query: 'as' }),
      ]);
      assert.equal(older, undefined);
      assert.equal(newest?.hits[0]?.id, 'as');
      stream.close();
    });
    assert.equal(opened.length, 2);
  });

  test('a stream that broke fails what waits where one attempt is all', async () => {
    const { opened, handlers } = answering((call, { sequence }, stream) => {
      if (stream === 1) {
        call.emit('error', failure({ code: Code.UNAVAILABLE, message: 'draining', reason: 'SHUTTING_DOWN' }));
      } else {
        call.write({ sequence, result: {} });
      }
    });
    await withQueries(
      handlers,
      async (client) => {
        const stream = client.searchStream();
        await assert.rejects(
          stream.search(SEARCH),
          (error: ScalingnoteError) => error.reason === 'SHUTTING_DOWN' && error.retryable,
        );
        assert.deepEqual((await stream.search(SEARCH))?.hits, []);
        stream.close();
      },
      { attempts: 1 },
    );
    assert.equal(opened.length, 2);
  });

  test('a query that the server could not answer now is asked again on the same stream', async () => {
    let asked = 0;
    const { opened, handlers } = answering((call, { sequence }) => {
      const status = {
        code: Code.RESOURCE_EXHAUSTED,
        message: 'full',
        reason: 'OVERLOADED',
        retryDelayMs: 1,
      };
      if (++asked === 1) call.write({ sequence, error: packStatus(status) });
      else call.write({ sequence, result: {} });
    });
    await withQueries(handlers, async (client) => {
      const stream = client.searchStream();
      assert.deepEqual((await stream.search(SEARCH))?.hits, []);
      stream.close();
    });
    assert.equal(asked, 2);
    assert.equal(opened.length, 1);
  });

  test('a failure that another attempt cannot mend fails all that waits', async () => {
    const { handlers } = answering((call, { sequence }) => {
      if (Number(sequence) === 1) call.write({ sequence, result: {} });
      else call.emit('error', failure({ code: Code.PERMISSION_DENIED, message: 'no', reason: 'FORBIDDEN' }));
    });
    await withQueries(handlers, async (client) => {
      const stream = client.searchStream();
      await stream.search(SEARCH);
      const outcomes = await Promise.allSettled([stream.search(SEARCH), stream.search(SEARCH)]);
      assert.deepEqual(
        outcomes.map((outcome) => outcome.status === 'rejected' && (outcome.reason as ScalingnoteError).code),
        ['PERMISSION_DENIED', 'PERMISSION_DENIED'],
      );
      stream.close();
    });
  });

  test('each query has a deadline and a signal; a stream that says nothing is not used again', async () => {
    const { opened, handlers } = answering((call, { sequence }, stream) => {
      if (stream > 1) call.write({ sequence, result: {} });
    });
    await withQueries(handlers, async (client) => {
      const stream = client.searchStream();
      const stop = new AbortController();
      const left = stream.search(SEARCH, { signal: stop.signal });
      stop.abort(new Error('the user left'));
      await assert.rejects(left, /the user left/);
      await assert.rejects(stream.search(SEARCH, { timeoutMs: 50 }), (error: ScalingnoteError) => {
        assert.equal(error.code, 'DEADLINE_EXCEEDED');
        assert.equal(error.reason, 'DEADLINE_EXCEEDED');
        assert.match(error.message, /^127\.0\.0\.1:\d+ did not answer within 50 ms$/);
        return true;
      });
      assert.deepEqual((await stream.search(SEARCH))?.hits, []);
      stream.close();
    });
    assert.equal(opened.length, 2);
  });

  test('the client’s own timeout is the default of each query', async () => {
    const { handlers } = answering(() => {});
    await withQueries(
      handlers,
      async (client) => {
        const stream = client.searchStream();
        await assert.rejects(
          stream.search(SEARCH),
          (error: ScalingnoteError) => error.code === 'DEADLINE_EXCEEDED',
        );
        stream.close();
      },
      { timeoutMs: 50 },
    );
  });

  test('an asynchronous dispose waits for the answers', async () => {
    const SearchStream = (call: Call): void => {
      call.on('data', ({ sequence }: SearchStreamRequest__Output) => {
        setTimeout(() => {
          call.write({ sequence, result: {} });
          call.end();
        }, 30);
      });
    };
    await withQueries({ SearchStream }, async (client) => {
      let answered = false;
      {
        await using stream = client.searchStream();
        void stream.search(SEARCH).then(() => (answered = true));
      }
      assert.ok(answered);
    });
  });
});
