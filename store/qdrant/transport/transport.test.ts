import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { OutgoingTls } from '../../../calls/outgoing-tls.ts';
import { type Answer, reset, type Seen, silence, startFakeServer } from '../testing/fake-server.ts';
import { RECORDED } from '../testing/recorded.ts';
import { type Call, Failure } from './failure.ts';
import { parseAddresses } from './node.ts';
import { Transport, type TransportOptions } from './transport.ts';

const SEARCH: Call = { operation: 'query', method: 'POST', path: '/collections/c/points/query', body: '{}' };
const OK: Answer = { result: 'fine' };
const UNAVAILABLE = RECORDED['query, two of three nodes dead']!;

function transport(context: TestContext, url: string, options: Partial<TransportOptions> = {}): Transport {
  const made = new Transport({
    addresses: parseAddresses(url),
    apiKey: undefined,
    tls: new OutgoingTls({}),
    connections: 4,
    timeoutMs: 5000,
    hedgeMs: undefined,
    ...options,
  });
  context.after(() => made.close());
  return made;
}

async function failure(call: Promise<unknown>): Promise<Failure> {
  const error = await call.then(
    () => assert.fail('the call succeeds'),
    (error: unknown) => error,
  );
  assert.ok(error instanceof Failure, String(error));
  return error;
}

/** Gives the answers one after the other, then repeats the last one. */
function inTurn(...answers: Answer[]): (seen: Seen, number: number) => Answer {
  return (_, number) => answers[Math.min(number, answers.length) - 1]!;
}

describe('a call', () => {
  it('gives the result, and asks for an answer that is not compressed', async (t) => {
    const server = await startFakeServer(t, () => OK);
    const call = transport(t, server.url, { apiKey: () => 'secret' }).call<string>(SEARCH);
    assert.equal(await call, 'fine');
    const [seen] = server.seen;
    assert.equal(seen?.headers['accept-encoding'], 'identity');
    assert.equal(seen?.headers['api-key'], 'secret');
  });

  it('goes to the path of the address', async (t) => {
    const server = await startFakeServer(t, () => OK);
    await transport(t, `${server.url}/qdrant/`).call(SEARCH);
    assert.equal(server.seen[0]?.path, '/qdrant/collections/c/points/query');
  });

  const passing: Record<string, Answer> = {
    'a connection that is reset': reset,
    'a node of the cluster that is lost': RECORDED['upsert just after one of three nodes died']!,
    'a gateway without a server': { status: 502, headers: {}, body: '<html>' },
    'a server that starts': { status: 503, headers: {}, body: '' },
    'a gateway that waited in vain': { status: 504, headers: {}, body: '' },
    'a server that asks to slow down a little': { status: 429, headers: { 'retry-after': '0' }, body: '' },
  };
  for (const [what, answer] of Object.entries(passing)) {
    it(`is made again after ${what}`, async (t) => {
      const server = await startFakeServer(t, inTurn(answer, answer, OK));
      assert.equal(await transport(t, server.url).call(SEARCH), 'fine');
      assert.equal(server.seen.length, 3);
    });
  }

  for (const name of [
    'upsert, wrong dimensions',
    'query, limit 0',
    'no key',
    'read-only key writes',
    'query, missing collection',
  ]) {
    it(`is not made again after a refusal: ${name}`, async (t) => {
      const server = await startFakeServer(t, () => RECORDED[name]!);
      await failure(transport(t, server.url).call(SEARCH));
      assert.equal(server.seen.length, 1);
    });
  }

  it('is not made again before the server wants it, but says when', async (t) => {
    const server = await startFakeServer(t, () => RECORDED['strict mode, read rate, call 3']!);
    const { error } = await failure(transport(t, server.url).call(SEARCH));
    assert.deepEqual([error.reason, error.retryable, error.retryDelayMs], ['STORE_OVERLOADED', true, 30_000]);
    assert.equal(server.seen.length, 1);
  });

  it('gives up after some attempts', async (t) => {
    const server = await startFakeServer(t, () => UNAVAILABLE);
    const { error } = await failure(transport(t, server.url).call(SEARCH));
    assert.equal(error.reason, 'STORE_UNAVAILABLE');
    assert.equal(server.seen.length, 4);
  });

  it('ends with its deadline', async (t) => {
    const server = await startFakeServer(t, () => silence);
    const call = transport(t, server.url).call(SEARCH, { deadline: Date.now() + 30 });
    await assert.rejects(call, { name: 'TimeoutError' });
  });

  it('does not begin another attempt that its deadline leaves no time for', async (t) => {
    const server = await startFakeServer(t, () => ({
      status: 429,
      headers: { 'retry-after': '1' },
      body: '',
    }));
    const { error } = await failure(transport(t, server.url).call(SEARCH, { deadline: Date.now() + 500 }));
    assert.equal(error.reason, 'STORE_OVERLOADED');
    assert.equal(server.seen.length, 1);
  });

  it('tells the server how long it may take, in whole seconds', async (t) => {
    const server = await startFakeServer(t, () => OK);
    const made = transport(t, server.url, { timeoutMs: 9000 });
    await made.call({ ...SEARCH, timed: true, path: '/x?wait=true' }, { deadline: Date.now() + 2500 });
    await made.call({ ...SEARCH, timed: true }, { deadline: Date.now() + 300 });
    await made.call({ ...SEARCH, timed: true });
    await made.call(SEARCH, { deadline: Date.now() + 2500 });
    assert.deepEqual(
      server.seen.map(({ query }) => query.get('timeout')),
      ['3', '1', '9', null],
    );
    assert.equal(server.seen[0]?.query.get('wait'), 'true');
  });

  it('ends with its signal, whatever that says', async (t) => {
    const server = await startFakeServer(t, () => silence);
    const controller = new AbortController();
    const call = transport(t, server.url).call(SEARCH, { signal: controller.signal });
    const reason = new Error('changed my mind');
    setTimeout(() => controller.abort(reason), 10);
    await assert.rejects(call, reason);
  });

  it('does not wait for ever where nobody set a deadline', async (t) => {
    const server = await startFakeServer(t, () => silence);
    const { error } = await failure(transport(t, server.url, { timeoutMs: 20 }).call(SEARCH));
    assert.equal(error.reason, 'STORE_UNAVAILABLE');
    assert.match(error.message, /20 ms/);
  });

  it('to something that is not Qdrant says so', async (t) => {
    const server = await startFakeServer(t, (_, number): Answer =>
      number === 1
        ? { status: 200, headers: {}, body: '<html>Hello</html>' }
        : { status: 302, headers: { location: '/login' }, body: '' },
    );
    const made = transport(t, server.url);
    assert.match((await failure(made.call(SEARCH))).message, /not Qdrant's/);
    assert.match((await failure(made.call(SEARCH))).message, /redirect/);
  });

  it('never shows the key or what was in the body', async (t) => {
    const answers: Answer[] = [
      {
        status: 400,
        headers: {},
        body: { status: { error: 'Format error in JSON body: invalid type: string "my diary"' } },
      },
      { status: 500, headers: {}, body: { status: { error: 'unknown variant "my diary"' } } },
      RECORDED['wrong key']!,
      reset,
    ];
    for (const answer of answers) {
      const server = await startFakeServer(t, () => answer);
      const { error } = await failure(
        transport(t, server.url, { apiKey: () => 's3cret' }).call({ ...SEARCH, body: '{"text":"my diary"}' }),
      );
      assert.doesNotMatch(`${error.message} ${JSON.stringify(error.metadata)}`, /s3cret|diary/);
    }
  });
});

describe('a server that is away', () => {
  /** An address where nothing listens. */
  async function nobody(): Promise<string> {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    return `http://127.0.0.1:${port}`;
  }

  it('is told as such, with the address', async (t) => {
    const url = await nobody();
    const { error } = await failure(transport(t, url).call(SEARCH));
    assert.equal(error.reason, 'STORE_UNAVAILABLE');
    assert.match(error.message, new RegExp(`${url}.*ECONNREFUSED`));
  });

  it('is left alone after a while, and found again when it is back', async (t) => {
    let away = true;
    const server = await startFakeServer(t, () => (away ? UNAVAILABLE : OK));
    const made = transport(t, server.url);
    await failure(made.call(SEARCH));
    await failure(made.call(SEARCH));
    const before = server.seen.length;
    const { error } = await failure(made.call(SEARCH));
    assert.equal(server.seen.length, before, 'the server is not asked');
    assert.ok(error.retryDelayMs! > 0, 'the caller is told when to ask again');
    away = false;
    while ((await made.call(SEARCH).catch(() => undefined)) !== 'fine') {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(await made.call(SEARCH), 'fine');
  });

  it('that hangs is left alone, too, when callers gave it time', async (t) => {
    const server = await startFakeServer(t, () => silence);
    const made = transport(t, server.url, { connections: 5 });
    const deadline = Date.now() + 600;
    await Promise.all(
      Array.from({ length: 5 }, () =>
        assert.rejects(made.call(SEARCH, { deadline }), { name: 'TimeoutError' }),
      ),
    );
    const { error } = await failure(made.call(SEARCH));
    assert.equal(error.reason, 'STORE_UNAVAILABLE');
    assert.equal(server.seen.filter(({ method }) => method === 'POST').length, 5);
  });

  it('that is busy, but answers a simple question, is never taken for one that is away', async (t) => {
    const server = await startFakeServer(t, ({ method }) => (method === 'GET' ? OK : silence));
    const made = transport(t, server.url, { connections: 1, timeoutMs: 800 });
    for (let round = 0; round < 2; round++) {
      const deadline = Date.now() + 600;
      await Promise.all(
        Array.from({ length: 8 }, () =>
          assert.rejects(made.call(SEARCH, { deadline }), { name: 'TimeoutError' }),
        ),
      );
      const { error } = await failure(made.call(SEARCH));
      assert.equal(error.reason, 'STORE_OVERLOADED');
      assert.match(error.message, /is busy/);
    }
  });

  it('is not given up by callers in a hurry', async (t) => {
    let hangs = true;
    const server = await startFakeServer(t, () => (hangs ? silence : OK));
    const made = transport(t, server.url);
    for (let call = 0; call < 8; call++) {
      await assert.rejects(made.call(SEARCH, { deadline: Date.now() + 10 }), { name: 'TimeoutError' });
    }
    hangs = false;
    assert.equal(await made.call(SEARCH), 'fine');
  });

  it('is stood in for by another node', async (t) => {
    const server = await startFakeServer(t, () => OK);
    const made = transport(t, `${await nobody()},${server.url}`);
    for (let call = 0; call < 20; call++) assert.equal(await made.call(SEARCH), 'fine');
  });
});

describe('nodes of a cluster', () => {
  it('take turns in searches, while calls about collections keep to the first that answers', async (t) => {
    const nodes = [await startFakeServer(t, () => OK), await startFakeServer(t, () => OK)];
    const made = transport(t, nodes.map(({ url }) => url).join());
    for (let call = 0; call < 4; call++) await made.call(SEARCH);
    assert.deepEqual(
      nodes.map(({ seen }) => seen.length),
      [2, 2],
    );
    for (let call = 0; call < 3; call++) await made.call({ ...SEARCH, catalog: true });
    assert.deepEqual(
      nodes.map(({ seen }) => seen.length),
      [5, 2],
    );
  });

  it('are all asked before a collection is missing', async (t) => {
    const missing = RECORDED['query, missing collection']!;
    let known = true;
    const behind = await startFakeServer(t, () => missing);
    const ahead = await startFakeServer(t, () => (known ? OK : missing));
    const made = transport(t, `${behind.url},${ahead.url}`);
    for (let call = 0; call < 4; call++) assert.equal(await made.call(SEARCH), 'fine');
    known = false;
    assert.equal(
      (await failure(made.call({ ...SEARCH, collection: 'c' }))).error.reason,
      'COLLECTION_NOT_FOUND',
    );
  });
});

describe('a hedged call', () => {
  it('is made a second time when the first has no answer for a while', async (t) => {
    const server = await startFakeServer(t, inTurn(silence, OK));
    const made = transport(t, server.url, { hedgeMs: 5 });
    assert.equal(await made.call({ ...SEARCH, hedged: true }), 'fine');
    assert.equal(server.seen.length, 2);
  });

  it('is made once when the answer is quick', async (t) => {
    const server = await startFakeServer(t, () => OK);
    const made = transport(t, server.url, { hedgeMs: 4000 });
    assert.equal(await made.call({ ...SEARCH, hedged: true }), 'fine');
    assert.equal(server.seen.length, 1);
  });

  it('leaves other calls alone', async (t) => {
    const server = await startFakeServer(t, () => (response) => {
      setTimeout(() => response.end('{"result":"late"}'), 40);
    });
    assert.equal(await transport(t, server.url, { hedgeMs: 1 }).call(SEARCH), 'late');
    assert.equal(server.seen.length, 1);
  });

  it('gives the answer of the one that succeeds', async (t) => {
    const slow: Answer = (response) => void setTimeout(() => response.end('{"result":"slow"}'), 60);
    const server = await startFakeServer(t, inTurn(slow, RECORDED['query, limit 0']!));
    const made = transport(t, server.url, { hedgeMs: 5 });
    assert.equal(await made.call({ ...SEARCH, hedged: true }), 'slow');
  });

  it('ends with its deadline', async (t) => {
    const server = await startFakeServer(t, () => silence);
    const made = transport(t, server.url, { hedgeMs: 5 });
    await assert.rejects(made.call({ ...SEARCH, hedged: true }, { deadline: Date.now() + 40 }), {
      name: 'TimeoutError',
    });
  });
});
