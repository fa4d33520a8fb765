import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { status as Code } from '@grpc/grpc-js';
import { failure, type Handlers } from '../../../clients/testing/fake-service.ts';
import type { SearchStreamRequest__Output } from '../../../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { CosinesAnswer, ErrorBody, SearchAnswer, SearchBody, SystemAnswer } from '../shared/wire.ts';
import { serveBridge, type WholeBridge } from '../testing/bridge.ts';

const TOWER = {
  name: 'tiny',
  role: 'TOWER_ROLE_QUERY',
  space: { fingerprint: 'sp1_0', dimensions: 2 },
  device: 'cpu',
  maxTokens: 8,
} as const;

const TIMINGS = { tokenizeMs: 1, queueMs: 2, encodeMs: 3, searchMs: 4, totalMs: 11, cached: false };

/** Answers what `answer` says, and keeps what was asked. */
function streaming(
  asked: SearchStreamRequest__Output[],
  answer: (request: SearchStreamRequest__Output, respond: (message: object) => void) => void,
): Handlers {
  return {
    SearchStream: (call) => {
      call.on('data', (request: SearchStreamRequest__Output) => {
        asked.push(request);
        answer(request, (message) => call.write({ sequence: request.sequence, ...message }));
      });
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
  };
}

function body(service: string, more: Partial<SearchBody> = {}): SearchBody {
  return {
    session: 's',
    service,
    collection: 'c',
    tenant: '',
    query: 'bees',
    limit: 5,
    mode: 'dense',
    filters: [],
    ...more,
  };
}

async function withBridge(
  handlers: Handlers,
  use: (bridge: WholeBridge) => Promise<void>,
  other?: Handlers,
): Promise<void> {
  const bridge = await serveBridge(handlers, other);
  try {
    await use(bridge);
  } finally {
    await bridge.stop();
  }
}

describe('search', () => {
  test('passes on what is asked besides hits, and what comes back', async () => {
    const asked: SearchStreamRequest__Output[] = [];
    const hit = { documentId: 'bee', snippet: { text: 'a bee', highlights: [{ start: 2, end: 5 }] } };
    const explainedDocument = {
      documentId: 'x',
      fate: 'DOCUMENT_FATE_NOT_STORED',
      message: 'it is not there',
    };
    const handlers = streaming(asked, (_, respond) =>
      respond({ result: { hits: [hit], timings: TIMINGS, queryTower: TOWER, explainedDocument } }),
    );
    await withBridge(handlers, async ({ ask, services: [service] }) => {
      const more = { explain: true, explainDocumentId: 'x', snippetLength: 40, scoreThreshold: 0.5 };
      const { json, status, text } = await ask('POST', '/api/search', { body: body(service, more) });
      assert.equal(status, 200, text);
      const answer = json as Extract<SearchAnswer, { superseded: false }>;
      assert.deepEqual(answer.hits[0]?.snippet?.highlights, [{ start: 2, end: 5 }]);
      assert.equal(answer.explainedDocument?.fate, 'NOT_STORED');
      const { explain, explainDocumentId, snippetLength, scoreThreshold } = asked[0]!.search!;
      assert.deepEqual({ explain, explainDocumentId, snippetLength, scoreThreshold }, more);
    });
  });

  test('refuses what it does not know, with the nearest name, and what comes twice', async () => {
    await withBridge({}, async ({ ask, services: [service] }) => {
      const refused = async (sent: object, field: string, message: RegExp): Promise<void> => {
        const { json, status } = await ask('POST', '/api/search', { body: sent });
        assert.equal(status, 400);
        const { error } = json as ErrorBody;
        assert.equal(error.violations?.[0]?.field, field);
        assert.match(error.message, message);
      };
      await refused(
        { ...body(service), treshold: 0.5, limt: 3 },
        'treshold',
        /did you mean "scoreThreshold"|unknown/,
      );
      await refused(
        { ...body(service), score_threshold: 0.5 },
        'score_threshold',
        /did you mean "scoreThreshold"/,
      );
      const { limit: _, ...rest } = body(service);
      await refused({ ...rest, Limit: 3 }, 'Limit', /did you mean "limit"/);
      const twice = Buffer.from(JSON.stringify(body(service)).replace('{', '{"limit":1,'));
      await refused(twice, 'body', /"limit" comes twice/);
      await refused({ ...body(service), explain: 'yes' }, 'explain', /boolean/);
      for (const [method, path, field, message] of [
        ['GET', '/api/traces?ordr=slowest', 'ordr', /did you mean "order"/],
        ['GET', '/api/traces?order=latest&order=slowest', 'order', /2 times/],
        ['GET', '/api/system?x=1', 'x', /there is none here/],
        ['POST', '/api/search?limit=1', 'limit', /there is none here/],
      ] as const) {
        const { json, status } = await ask(method, path, method === 'POST' ? { body: body(service) } : {});
        assert.equal(status, 400, path);
        const { error } = json as ErrorBody;
        assert.match(error.message, new RegExp(`^${field}: .*${message.source}`));
      }
    });
  });

  test('goes over the stream as it was asked, in a trace of its own, and comes back with hits and timings', async () => {
    const asked: SearchStreamRequest__Output[] = [];
    const hit = { documentId: 'bee', score: 0.5, title: 'Bees', text: 'x', metadata: null };
    const handlers = streaming(asked, (_, respond) =>
      respond({ result: { hits: [hit], timings: TIMINGS, queryTower: TOWER } }),
    );
    await withBridge(handlers, async ({ ask, services: [service] }) => {
      const filters = ['metadata.legs>4', 'metadata.kind!=fish'];
      const first = await ask('POST', '/api/search', { body: body(service, { mode: 'hybrid', filters }) });
      assert.equal(first.status, 200, first.text);
      const answer = first.json as Extract<SearchAnswer, { superseded: false }>;
      assert.equal(answer.superseded, false);
      assert.deepEqual(answer.timings, TIMINGS);
      assert.deepEqual([answer.hits[0]?.id, answer.queryTower.name], ['bee', 'tiny']);
      const [{ search, traceparent }] = asked as [SearchStreamRequest__Output];
      assert.deepEqual([search?.query, search?.limit, search?.mode], ['bees', 5, 'SEARCH_MODE_HYBRID']);
      assert.deepEqual([search?.filter?.must.length, search?.filter?.mustNot.length], [1, 1]);
      assert.match(answer.traceId, /^[0-9a-f]{32}$/);
      assert.match(traceparent, new RegExp(`^00-${answer.traceId}-[0-9a-f]{16}-01$`));

      const fresh = body(service, { atLeastAsFreshAs: 'token' });
      const second = await ask('POST', '/api/search', { body: fresh });
      assert.notEqual((second.json as typeof answer).traceId, answer.traceId);
      assert.deepEqual(
        asked.map((request) => request.search?.atLeastAsFreshAs),
        ['', 'token'],
      );
    });
  });

  test('a newer query of a session supersedes the older one, and that of another session does not', async () => {
    const asked: SearchStreamRequest__Output[] = [];
    const open: (() => void)[] = [];
    const handlers = streaming(asked, (_, respond) => {
      open.push(() => respond({ superseded: { bySequence: 2 } }));
    });
    await withBridge(handlers, async ({ ask, services: [service] }) => {
      const mine = ask('POST', '/api/search', { body: body(service) });
      const other = ask('POST', '/api/search', { body: body(service, { session: 'other' }) });
      while (open.length < 2) await new Promise((resolve) => setTimeout(resolve, 2));
      // Both are the first of their own stream.
      assert.deepEqual(
        asked.map(({ sequence }) => sequence),
        ['1', '1'],
      );
      for (const answer of open) answer();
      assert.deepEqual((await mine).json, { superseded: true });
      await other;
    });
  });

  test('what the service refuses comes back with its reason, its fields and the right status', async () => {
    const status = {
      code: Code.INVALID_ARGUMENT,
      message: 'limit: is 0; send 1 to 1000',
      details: [],
    };
    const handlers = streaming([], (_, respond) => respond({ error: status }));
    await withBridge(handlers, async ({ ask, services: [service] }) => {
      const refused = await ask('POST', '/api/search', { body: body(service, { limit: 0 }) });
      assert.equal(refused.status, 400);
      assert.match(refused.text, /limit: is 0; send 1 to 1000/);
    });
  });

  test('fields that the bridge itself needs are checked', async () => {
    await withBridge({}, async ({ ask, services: [service] }) => {
      for (const [sent, message] of [
        [{ ...body(service), filters: ['=x'] }, /filter: .*FIELD=VALUE/],
        [{ ...body(service), mode: 'fuzzy' }, /mode/],
        [{ ...body(service), session: '' }, /session/],
        [{ ...body(service), more: 1 }, /more/],
        [Buffer.from('{'), /body: is not JSON/],
      ] as const) {
        const refused = await ask('POST', '/api/search', { body: sent });
        assert.equal(refused.status, 400, refused.text);
        assert.match(refused.text, message);
      }
      const unknown = await ask('POST', '/api/search', { body: body('127.0.0.1:1') });
      assert.equal(unknown.status, 404);
      assert.match(unknown.text, /SERVICE_NOT_FOUND/);
    });
  });

  test('a service that is away is told in one line that says what to do', async () => {
    await withBridge({}, async ({ ask, services: [service], leave }) => {
      leave();
      const { status, json, text } = await ask('POST', '/api/search', { body: body(service) });
      assert.equal(status, 503, text);
      const { error } = json as ErrorBody;
      assert.deepEqual([error.reason, error.message.includes(service)], ['UNAVAILABLE', true]);
      assert.match(error.message, /scalingnote up/);
      assert.doesNotMatch(error.message, /\n/);
    });
  });
});

describe('cosines', () => {
  const encoding = (values: number[], fingerprint = 'sp1_0'): Handlers => ({
    Encode: (call, callback) =>
      callback(null, {
        embeddings: call.request.texts.map(() => ({ values })),
        queryTower: { ...TOWER, space: { fingerprint, dimensions: 2 } },
      }),
  });

  test('between every two services', async () => {
    const use = async ({ ask, services }: WholeBridge): Promise<void> => {
      const { json } = await ask('POST', '/api/cosines', { body: { text: 'bees', services } });
      const { cosines, errors } = json as CosinesAnswer;
      assert.deepEqual(errors, [null, null]);
      assert.ok(Math.abs(cosines[0]![1]! - 0.6) < 1e-6);
      assert.ok(Math.abs(cosines[1]![1]! - 1) < 1e-6);
    };
    await withBridge(encoding([2, 0]), use, encoding([3, 4]));
  });

  test('none where spaces differ, or one has no vector', async () => {
    await withBridge(
      encoding([1, 0]),
      async ({ ask, services }) => {
        const { json } = await ask('POST', '/api/cosines', { body: { text: 'bees', services } });
        assert.equal((json as CosinesAnswer).cosines[0]![1], null);
      },
      encoding([1, 0], 'sp1_1'),
    );
    await withBridge(
      encoding([1, 0]),
      async ({ ask, services }) => {
        const { json, status } = await ask('POST', '/api/cosines', { body: { text: 'bees', services } });
        const { cosines, errors } = json as CosinesAnswer;
        assert.equal(status, 200);
        assert.deepEqual(cosines[1], [null, null]);
        assert.equal(errors[1], 'too much to do');
      },
      {
        Encode: (_, callback) =>
          callback(
            failure({ code: Code.RESOURCE_EXHAUSTED, message: 'too much to do', reason: 'OVERLOADED' }),
          ),
      },
    );
  });
});

test('the system: what answers, and what does not', async () => {
  const info = { version: '1', pid: 7, uptimeSeconds: 1, tower: TOWER, store: 'embedded' };
  const counts = { space: TOWER.space, documents: 2, passages: 3, identity: 'col_0' };
  const collections = [
    { name: 'c', physicalName: 'c--sp1_0', ...counts },
    { name: 'c--sp1_1', physicalName: 'c--sp1_1', ...counts },
  ];
  const aliases = ['c', 'd'].map((name) => ({ name, physicalName: 'c--sp1_0' }));
  await withBridge(
    {
      Describe: (_: unknown, callback: (error: null, answer: object) => void) =>
        callback(null, { service: info }),
      ListCollections: (_, callback) => callback(null, { collections }),
      ListAliases: (_, callback) => callback(null, { aliases }),
    },
    async ({ ask, services }) => {
      const { json } = await ask('GET', '/api/system');
      const system = json as SystemAnswer;
      assert.deepEqual(system.collections, [
        { physicalName: 'c--sp1_0', aliases: ['c', 'd'], ...counts },
        { physicalName: 'c--sp1_1', aliases: [], ...counts },
      ]);
      assert.deepEqual(
        system.services.map(({ kind, address }) => [kind, address]),
        [
          ['document', services[0]],
          ['query', services[0]],
          ['query', services[1]],
        ],
      );
      // The fakes have no health service.
      assert.deepEqual(new Set(system.services.map(({ health }) => health)), new Set(['UNREACHABLE']));
    },
    {},
  );
});
