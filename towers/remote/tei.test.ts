import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Metadata, status as Code } from '@grpc/grpc-js';
import { TowerError } from '../errors.ts';
import { compareGolden, readGolden } from '../golden/golden.ts';
import { openTower } from '../open.ts';
import { pullTower } from '../pull.ts';
import { parseReference } from '../reference.ts';
import { TINY_TOKENIZER, temporaryFolder } from '../testing/tiny-tower.ts';
import type { Tower } from '../tower.ts';
import type { RemoteFacts } from './make.ts';
import { RemoteRuntime } from './runtime.ts';
import { idsOf, startEndpoint, vectorOf } from './testing/endpoint.ts';
import { startTei, type TeiBehaviour, type TestTei } from './testing/tei.ts';
import type { RemoteOptions } from './tower.ts';

const FACTS: RemoteFacts = { documentPrompt: '', queryPrompt: '' };

/** A tower over a stand-in, and the stand-in, as it was made: nothing has gone wrong yet. */
async function teiTower(
  context: TestContext,
  {
    behaviour = {},
    facts = {},
    remote = {},
    counts = 'files',
  }: {
    behaviour?: Partial<TeiBehaviour>;
    facts?: RemoteFacts;
    remote?: RemoteOptions;
    counts?: 'files' | 'endpoint';
  } = {},
): Promise<{ tower: Tower; tei: TestTei; reference: string; cacheDir: string }> {
  const tei = await startTei(context, behaviour);
  const cacheDir = temporaryFolder(context);
  const reference = `tei:${tei.url}#${tei.behaviour.model}`;
  const tokenizer = temporaryFolder(context);
  writeFileSync(join(tokenizer, 'tokenizer.json'), JSON.stringify(TINY_TOKENIZER));
  await pullTower(reference, {
    cacheDir,
    remoteFacts: { ...FACTS, ...(counts === 'files' && { tokenizer }), ...facts },
  });
  tei.seen.length = 0;
  const tower = await openTower(reference, { cacheDir, remote });
  context.after(() => tower.close());
  return { tower, tei, reference, cacheDir };
}

async function encodeTexts(tower: Tower, texts: readonly string[]): Promise<Float32Array[]> {
  const tokens = await tower.tokenizeAll(texts);
  return (await Promise.all(tokens.map((each) => tower.encode(each)))).map(({ vector }) => vector);
}

function failure(reason: TowerError['reason'], fault?: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TowerError, String(error));
    assert.equal(error.reason, reason, error.message);
    if (fault !== undefined) assert.equal(error.metadata['fault'], fault);
    return true;
  };
}

const TEXTS = Array.from({ length: 40 }, (_, index) => `star ${index} hello ${'world '.repeat(index % 7)}`);

test('vectors come in the order of the texts, scaled here; facts come from the server', async (context) => {
  const { tower, tei } = await teiTower(context);
  const vectors = await encodeTexts(tower, TEXTS);
  for (const [index, text] of TEXTS.entries()) {
    const raw = vectorOf(await idsOf(text), tei.behaviour);
    const length = Math.hypot(...raw);
    raw.forEach((value, place) => assert.ok(Math.abs(value / length - vectors[index]![place]!) < 1e-6));
  }
  const { manifest } = tower;
  assert.equal(manifest.maxTokens, 64);
  assert.deepEqual(manifest.space.model, { name: 'tiny', revision: 'abc' });
  const { protocol, url, answersAs, countsAgree, tokenizerKind } = manifest.runtime!;
  assert.deepEqual(
    { protocol, url, answersAs, countsAgree, tokenizerKind },
    { protocol: 'tei', url: tei.url, answersAs: 'tiny', countsAgree: true, tokenizerKind: 'files' },
  );
  const requests = tei.seen.flatMap((call) => call.requests);
  assert.equal(requests.length, TEXTS.length);
  assert.ok(requests.every(({ truncate, normalize }) => !truncate && normalize === false));
  assert.ok(tei.seen.length < TEXTS.length, 'a stream has several texts');
});

test('--no-normalize keeps vectors as the model makes them', async (context) => {
  const { tower, tei } = await teiTower(context, { facts: { normalize: false } });
  const [vector] = await encodeTexts(tower, ['hello star']);
  assert.deepEqual(vector, vectorOf(await idsOf('hello star'), tei.behaviour));
});

test('the server counts tokens where there is no tokenizer, special ones apart', async (context) => {
  const { tower } = await teiTower(context, { counts: 'endpoint' });
  assert.equal(tower.manifest.runtime!.tokenizerKind, 'endpoint');
  assert.equal(tower.manifest.runtime!.extraTokens, 2);
  assert.equal((await tower.tokenize('hello star')).ids.length, (await idsOf('hello star')).length);
  assert.equal((await tower.tokenize('star '.repeat(100))).truncated, true);
});

test('dimensions are asked for, and cut here where the server does not know them', async (context) => {
  for (const matryoshka of [true, false]) {
    const { tower, tei } = await teiTower(context, { facts: { dimensions: 8 }, behaviour: { matryoshka } });
    const [vector] = await encodeTexts(tower, ['hello']);
    assert.equal(vector!.length, 8);
    assert.equal(tei.seen[0]!.requests[0]!.dimensions, matryoshka ? 8 : undefined);
  }
  await assert.rejects(
    teiTower(context, { facts: { dimensions: 99 } }),
    failure('ENDPOINT_ANSWER_INVALID', 'dimensions'),
  );
});

const status = (code: Code, details = 'so it is'): (() => { code: Code; details: string }) => {
  return () => ({ code, details });
};

const broken: Readonly<Record<string, [TeiBehaviour['fault'], TowerError['reason'], string?]>> = {
  'fewer vectors': [() => (answers) => answers.slice(1), 'ENDPOINT_ANSWER_INVALID', 'count'],
  'more vectors': [() => (answers) => [...answers, answers[0]!], 'ENDPOINT_ANSWER_INVALID', 'count'],
  'no vector': [
    () => (answers) => answers.map((each) => ({ ...each, embeddings: [] })),
    'ENDPOINT_ANSWER_INVALID',
    'form',
  ],
  'another length': [
    () => (answers) => answers.map((each) => ({ ...each, embeddings: [1, 2] })),
    'ENDPOINT_ANSWER_INVALID',
    'dimensions',
  ],
  'no access': [status(Code.UNAUTHENTICATED), 'ENDPOINT_REFUSED'],
  'no such service': [status(Code.UNIMPLEMENTED), 'ENDPOINT_REFUSED'],
  'a status without meaning here': [status(Code.ALREADY_EXISTS), 'ENDPOINT_REFUSED'],
};

for (const [name, [fault, reason, kind]] of Object.entries(broken)) {
  test(`refused by name: ${name}`, async (context) => {
    const { tower, tei } = await teiTower(context);
    tei.behaviour.fault = fault;
    await assert.rejects(encodeTexts(tower, ['hello star', 'hello world']), failure(reason, kind));
    assert.equal(tei.seen.length, 1, 'asked again, where asking again does not help');
    tei.behaviour.fault = () => undefined;
    assert.equal((await encodeTexts(tower, ['hello star'])).length, 1);
  });
}

test('a text in another order is noticed when the tower is made', async (context) => {
  const fault: TeiBehaviour['fault'] = () => (answers) => answers.toReversed();
  await assert.rejects(
    teiTower(context, { behaviour: { fault } }),
    failure('ENDPOINT_ANSWER_INVALID', 'order'),
  );
});

for (const [fault, number] of [
  ['not_finite', Number.NaN],
  ['zero', 0],
] as const) {
  test(`one vector that is ${fault} fails alone`, async (context) => {
    const { tower, tei } = await teiTower(context);
    tei.behaviour.fault =
      ({ requests }) =>
      (answers) =>
        answers.map((each, index) =>
          requests[index]!.inputs === 'bad' ? { ...each, embeddings: Array(16).fill(number) } : each,
        );
    const tokens = await tower.tokenizeAll(['hello', 'bad', 'world']);
    const results = await Promise.allSettled(tokens.map((each) => tower.encode(each)));
    assert.deepEqual(
      results.map((each) => each.status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    failure('ENDPOINT_INPUT_REFUSED', fault)((results[1] as PromiseRejectedResult).reason);
  });
}

for (const code of [Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION, Code.INTERNAL]) {
  test(`a text that the server answers with ${Code[code]} is found by halving, and fails alone`, async (context) => {
    const { tower, tei } = await teiTower(context);
    tei.behaviour.refuse = (text) => (text === 'bad' ? { code, details: 'can not take it' } : undefined);
    const texts = Array.from({ length: 16 }, (_, index) => (index === 11 ? 'bad' : `star ${index}`));
    const tokens = await tower.tokenizeAll(texts);
    const results = await Promise.allSettled(tokens.map((each) => tower.encode(each)));
    results.forEach((each, index) =>
      assert.equal(each.status, index === 11 ? 'rejected' : 'fulfilled', texts[index]),
    );
    failure('ENDPOINT_INPUT_REFUSED')((results[11] as PromiseRejectedResult).reason);
    assert.ok(tei.seen.length <= (code === Code.INTERNAL ? 14 : 9), String(tei.seen.length));
  });
}

for (const code of [Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE]) {
  test(`${Code[code]} is waited for`, async (context) => {
    const { tower, tei } = await teiTower(context);
    tei.behaviour.fault = ({ number }) =>
      number <= 2 ? { code, details: 'model is overloaded' } : undefined;
    await encodeTexts(tower, ['hello']);
    assert.equal(tei.seen.length, 3);
  });
}

test('a server that wants to be left alone for longer than we wait says so to the caller', async (context) => {
  const { tower, tei } = await teiTower(context);
  const metadata = new Metadata();
  metadata.set('retry-after', '600');
  tei.behaviour.fault = () => ({ code: Code.RESOURCE_EXHAUSTED, details: 'later', metadata });
  for (const _ of [1, 2]) {
    await assert.rejects(encodeTexts(tower, ['hello']), (error) => {
      failure('ENDPOINT_UNAVAILABLE')(error);
      return (error as TowerError).retryDelayMs! > 590_000;
    });
  }
  assert.equal(tei.seen.length, 1, 'it was not left alone');
});

test('a text that the server cuts is refused, and alone', async (context) => {
  const { tower, tei } = await teiTower(context);
  tei.behaviour.cutAt = 20;
  const tokens = await tower.tokenizeAll(['hello', 'star '.repeat(50), 'world']);
  const results = await Promise.allSettled(tokens.map((each) => tower.encode(each)));
  assert.deepEqual(
    results.map((each) => each.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  failure('ENDPOINT_INPUT_REFUSED', 'truncated')((results[1] as PromiseRejectedResult).reason);
});

test('a tower that would send more than the server takes is refused when it is made', async (context) => {
  await assert.rejects(
    teiTower(context, { facts: { maxTokens: 128 } }),
    (error) =>
      failure('TOWER_MODEL_UNSUPPORTED')(error) &&
      /up to 64 tokens.*--max-tokens/.test((error as Error).message),
  );
});

test('a server that hangs is given up, and closing does not wait for it', async (context) => {
  const { tower, tei } = await teiTower(context, { facts: { timeoutMs: 300 } });
  tei.behaviour.fault = () => 'hang';
  await assert.rejects(encodeTexts(tower, ['hello']), failure('ENDPOINT_UNAVAILABLE'));
  assert.equal(tei.seen.length, 2);
  const encoding = assert.rejects(encodeTexts(tower, ['hello']), TowerError);
  while (tei.seen.length === 2) await new Promise((resolve) => setTimeout(resolve, 10));
  await tower.close();
  await encoding;
});

test('a server that is down fails what is asked, and answers when it is back', async (context) => {
  const { tower, tei } = await teiTower(context);
  await encodeTexts(tower, ['hello']);
  tei.stop();
  await assert.rejects(encodeTexts(tower, ['hello']), (error) => {
    failure('ENDPOINT_UNAVAILABLE')(error);
    return (error as TowerError).retryDelayMs! > 0;
  });
  await assert.rejects(tower.probe!(), failure('ENDPOINT_UNAVAILABLE'));
  await tei.restart();
  await encodeTexts(tower, ['hello']);
});

test('another model at the address is noticed: by its name, and by its vectors', async (context) => {
  const { tower, tei, cacheDir } = await teiTower(context);
  const golden = await readGolden(tower);
  assert.equal((await compareGolden(tower, golden!)).drifted, false);
  tei.behaviour.seed = 1;
  assert.equal((await compareGolden(tower, golden!)).drifted, true);
  tei.behaviour.model = 'tiny-v2';
  await assert.rejects(encodeTexts(tower, ['hello']), failure('ENDPOINT_ANSWER_INVALID', 'model'));
  await assert.rejects(
    pullTower(`tei:${tei.url}#other`, { cacheDir, remoteFacts: FACTS }),
    (error) =>
      failure('ENDPOINT_REFUSED')(error) && (error as Error).message.includes(`tei:${tei.url}#tiny-v2`),
  );
});

test('key and trace go in the metadata, and the key into no error', async (context) => {
  const key = 'sk-very-secret';
  process.env['SCALINGNOTE_REMOTE_KEY_TEST'] = key;
  context.after(() => delete process.env['SCALINGNOTE_REMOTE_KEY_TEST']);
  const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
  const { tower, tei, cacheDir } = await teiTower(context, {
    behaviour: { key },
    facts: { keyEnv: 'SCALINGNOTE_REMOTE_KEY_TEST' },
    remote: { watch: { begin: () => ({ headers: { traceparent }, end: () => {} }) } },
  });
  await encodeTexts(tower, ['hello']);
  const { metadata } = tei.seen.at(-1)!;
  assert.deepEqual(metadata.get('authorization'), [`Bearer ${key}`]);
  assert.deepEqual(metadata.get('traceparent'), [traceparent]);
  tei.behaviour.fault = status(Code.ALREADY_EXISTS, `your key ${key}`);
  await assert.rejects(encodeTexts(tower, ['hello']), (error) => {
    failure('ENDPOINT_REFUSED')(error);
    return !(error as Error).message.includes(key) && (error as Error).message.includes('[key]');
  });
  tei.behaviour.fault = () => undefined;
  await assert.rejects(
    pullTower(`tei:${tei.url}#tiny`, { cacheDir, refresh: true, remoteFacts: FACTS }),
    (error) => failure('ENDPOINT_REFUSED')(error) && /SCALINGNOTE_REMOTE_KEY/.test((error as Error).message),
  );
});

test('spending counts what the server says it has read', async (context) => {
  const { tower } = await teiTower(context);
  await encodeTexts(tower, ['star star star']);
  assert.equal(tower.spent!.tokens, (await idsOf('star star star')).length);
  assert.equal(tower.spent!.requests, 1);
});

test('the HTTP port of a server is no gRPC', async (context) => {
  const endpoint = await startEndpoint(context);
  await assert.rejects(
    pullTower(`tei:${endpoint.url}#tiny`, { cacheDir: temporaryFolder(context), remoteFacts: FACTS }),
    failure('ENDPOINT_UNAVAILABLE'),
  );
});

test('https is TLS: a server without it is not talked to', async (context) => {
  const bytes: Buffer[] = [];
  const server = createServer();
  server.on('connection', (socket) => socket.on('data', (chunk) => bytes.push(chunk)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const pulling = pullTower(`tei:https://127.0.0.1:${port}#tiny`, {
    cacheDir: temporaryFolder(context),
    remoteFacts: FACTS,
  });
  await assert.rejects(pulling, failure('ENDPOINT_UNAVAILABLE'));
  assert.equal(bytes[0]?.[0], 0x16, 'a TLS handshake');
});

test('a tei reference has host and port, and no path', () => {
  const { location, canonical } = parseReference('remote+tei:https://host:8443/#org/name');
  assert.deepEqual(location, {
    scheme: 'remote',
    protocol: 'tei',
    url: 'https://host:8443',
    model: 'org/name',
  });
  assert.equal(canonical, 'tei:https://host:8443#org/name');
  assert.throws(() => parseReference('tei:http://host:8080/v1#org/name'), failure('TOWER_REFERENCE_INVALID'));
  const runtime = {
    kind: 'remote',
    protocol: 'tei',
    url: 'http://host:8080',
    model: 'm',
    tokenizerKind: 'characters',
    countsAgree: false,
  };
  assert.ok(RemoteRuntime.safeParse(runtime).success);
  assert.ok(!RemoteRuntime.safeParse({ ...runtime, url: 'http://host:8080/v1' }).success);
});
