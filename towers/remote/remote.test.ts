import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TowerError } from '../errors.ts';
import { compareGolden, readGolden } from '../golden/golden.ts';
import { openTower } from '../open.ts';
import { TINY_TOKENIZER, temporaryFolder } from '../testing/tiny-tower.ts';
import type { Tower } from '../tower.ts';
import { type Behaviour, startEndpoint, type TestEndpoint, tokensOf } from './testing/endpoint.ts';
import type { RemoteFacts } from './make.ts';
import { pullTower } from '../pull.ts';
import type { RemoteOptions } from './tower.ts';

const FACTS: RemoteFacts = { maxTokens: 64, documentPrompt: '', queryPrompt: '' };

/** A tower over a stand-in, and the stand-in, as it was made: nothing has gone wrong yet. */
async function remoteTower(
  context: TestContext,
  {
    behaviour = {},
    facts = {},
    remote = {},
  }: { behaviour?: Partial<Behaviour>; facts?: RemoteFacts; remote?: RemoteOptions } = {},
): Promise<{ tower: Tower; endpoint: TestEndpoint; cacheDir: string; reference: string }> {
  const endpoint = await startEndpoint(context, behaviour);
  const cacheDir = temporaryFolder(context);
  const reference = `remote:${endpoint.url}#${endpoint.behaviour.model}`;
  const tokenizer = temporaryFolder(context);
  writeFileSync(join(tokenizer, 'tokenizer.json'), JSON.stringify(TINY_TOKENIZER));
  await pullTower(reference, { cacheDir, remoteFacts: { ...FACTS, tokenizer, ...facts } });
  endpoint.seen.length = 0;
  const tower = await openTower(reference, { cacheDir, remote });
  context.after(() => tower.close());
  return { tower, endpoint, cacheDir, reference };
}

async function encodeTexts(tower: Tower, texts: readonly string[]): Promise<Float32Array[]> {
  const tokens = await tower.tokenizeAll(texts);
  return (await Promise.all(tokens.map((each) => tower.encode(each)))).map(({ vector }) => vector);
}

const TEXTS = Array.from(
  { length: 40 },
  (_, index) => `star ${index} hello astronomer ${'world '.repeat(index % 7)}`,
);

function failure(reason: TowerError['reason'], fault?: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof TowerError, String(error));
    assert.equal(error.reason, reason, error.message);
    if (fault !== undefined) assert.equal(error.metadata['fault'], fault);
    return true;
  };
}

test('a server of sentence-transformers reads as much as that file of the folder says', async (context) => {
  const endpoint = await startEndpoint(context, { cutAt: 256 });
  const tokenizer = temporaryFolder(context);
  const write = (file: string, value: object): void =>
    writeFileSync(join(tokenizer, file), JSON.stringify(value));
  write('tokenizer.json', TINY_TOKENIZER);
  write('tokenizer_config.json', { model_max_length: 512 });
  const make = async (): Promise<number> => {
    const remoteFacts = { documentPrompt: '', queryPrompt: '', tokenizer };
    const options = { cacheDir: temporaryFolder(context), remoteFacts };
    return (await pullTower(`remote:${endpoint.url}#tiny`, options)).manifest.maxTokens;
  };
  await assert.rejects(make(), failure('TOWER_MODEL_UNSUPPORTED', 'truncated'));
  write('sentence_bert_config.json', { max_seq_length: 256 });
  assert.equal(await make(), 256);
});

for (const tokenize of ['vllm', 'tei'] as const) {
  test(`a server that counts tokens as ${tokenize} does is asked for each count`, async (context) => {
    const endpoint = await startEndpoint(context, { tokenize });
    const reference = `remote:${endpoint.url}#tiny`;
    const cacheDir = temporaryFolder(context);
    const { manifest } = await pullTower(reference, { cacheDir, remoteFacts: FACTS });
    assert.equal(manifest.runtime?.tokenizerKind, 'endpoint');
    const tower = await openTower(reference, { cacheDir });
    context.after(() => tower.close());
    for (const text of ['hello world', 'a star']) {
      assert.equal((await tower.tokenize(text)).ids.length, await tokensOf(text));
    }
  });
}

test('vectors come in the order of the texts, whatever order and form the server has', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  const expected = await encodeTexts(tower, TEXTS);
  assert.equal(endpoint.seen[0]!.encodingFormat, 'base64');
  endpoint.behaviour.base64 = false;
  endpoint.behaviour.fault = () => ({
    change: (answer) => ({ ...answer, data: answer.data.toReversed() }),
  });
  const found = await encodeTexts(tower, TEXTS);
  for (const [index, vector] of found.entries()) {
    for (let place = 0; place < vector.length; place++) {
      assert.ok(Math.abs(vector[place]! - expected[index]![place]!) < 1e-6);
    }
  }
});

test('encodeAll gives the rows of encode, several requests at a time, none with too many texts', async (context) => {
  const { tower, endpoint } = await remoteTower(context, { behaviour: { delayMs: 5 } });
  const texts = Array.from({ length: 400 }, (_, index) => `star ${index}`);
  const done: number[] = [];
  const rows = await tower.encodeAll(await tower.tokenizeAll(texts), {
    onProgress: (count) => done.push(count),
  });
  assert.equal(done.at(-1), 400);
  const [vector] = await encodeTexts(tower, ['star 399']);
  assert.deepEqual(rows.subarray(399 * 16), vector);
  assert.ok(endpoint.busiest > 1);
  assert.ok(endpoint.seen.every(({ input }) => input.length <= 32));
});

const broken: Readonly<Record<string, [Behaviour['fault'], TowerError['reason'], string?]>> = {
  'HTML with status 200': [
    () => ({ status: 200, body: '<html><body>Log in</body></html>' }),
    'ENDPOINT_ANSWER_INVALID',
    'form',
  ],
  'JSON of something else': [() => ({ change: () => ({ ok: true }) }), 'ENDPOINT_ANSWER_INVALID', 'form'],
  'fewer vectors': [
    () => ({ change: (answer) => ({ ...answer, data: answer.data.slice(1) }) }),
    'ENDPOINT_ANSWER_INVALID',
    'count',
  ],
  'an index twice': [
    () => ({ change: (answer) => ({ ...answer, data: answer.data.map((each) => ({ ...each, index: 0 })) }) }),
    'ENDPOINT_ANSWER_INVALID',
    'order',
  ],
  'an index beyond': [
    () => ({
      change: (answer) => ({
        ...answer,
        data: answer.data.map((each) => ({ ...each, index: each.index + 1 })),
      }),
    }),
    'ENDPOINT_ANSWER_INVALID',
    'order',
  ],
  'another length': [
    () => ({
      change: (answer) => ({ ...answer, data: answer.data.map((each) => ({ ...each, embedding: [1, 2] })) }),
    }),
    'ENDPOINT_ANSWER_INVALID',
    'dimensions',
  ],
  'another model': [
    () => ({ change: (answer) => ({ ...answer, model: 'tiny-v2' }) }),
    'ENDPOINT_ANSWER_INVALID',
    'model',
  ],
  'bytes that are no floats': [
    () => ({
      change: (answer) => ({ ...answer, data: answer.data.map((each) => ({ ...each, embedding: 'AAA=' })) }),
    }),
    'ENDPOINT_ANSWER_INVALID',
    'form',
  ],
  'no access': [() => ({ status: 401, body: '{"error":{"message":"bad key"}}' }), 'ENDPOINT_REFUSED'],
  'no such model': [
    () => ({ status: 404, body: '{"error":{"message":"no such model"}}' }),
    'ENDPOINT_REFUSED',
  ],
  'a redirect': [() => ({ status: 302, headers: { location: 'http://localhost:1/' } }), 'ENDPOINT_REFUSED'],
};

for (const [name, [fault, reason, kind]] of Object.entries(broken)) {
  test(`refused by name: ${name}`, async (context) => {
    const { tower, endpoint } = await remoteTower(context);
    endpoint.behaviour.fault = fault;
    await assert.rejects(encodeTexts(tower, ['hello star', 'hello world']), failure(reason, kind));
    assert.equal(endpoint.seen.length, 1, 'asked again, where asking again does not help');
    endpoint.behaviour.fault = () => undefined;
    assert.equal((await encodeTexts(tower, ['hello star'])).length, 1);
  });
}

for (const [fault, number] of [
  ['not_finite', null],
  ['zero', 0],
] as const) {
  test(`one vector that is ${fault} fails alone`, async (context) => {
    const { tower, endpoint } = await remoteTower(context);
    endpoint.behaviour.fault = ({ input }) => ({
      change: (answer) => ({
        ...answer,
        data: answer.data.map((each) =>
          input[each.index] === 'bad'
            ? { ...each, embedding: Array.from({ length: 16 }, () => number) }
            : each,
        ),
      }),
    });
    const tokens = await tower.tokenizeAll(['hello', 'bad', 'world']);
    const results = await Promise.allSettled(tokens.map((each) => tower.encode(each)));
    assert.deepEqual(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'fulfilled'],
    );
    failure('ENDPOINT_INPUT_REFUSED', fault)((results[1] as PromiseRejectedResult).reason);
    assert.equal(endpoint.seen.length, 1);
    await assert.rejects(tower.encodeAll(tokens), failure('ENDPOINT_INPUT_REFUSED', fault));
  });
}

for (const status of [400, 413, 422, 500]) {
  test(`a text that the server refuses with ${status} is found by halving, and fails alone`, async (context) => {
    const { tower, endpoint } = await remoteTower(context);
    endpoint.behaviour.fault = ({ input }) =>
      input.includes('bad') ? { status, body: '{"error":{"message":"can not take it"}}' } : undefined;
    const texts = Array.from({ length: 16 }, (_, index) => (index === 11 ? 'bad' : `star ${index}`));
    const tokens = await tower.tokenizeAll(texts);
    const results = await Promise.allSettled(tokens.map((each) => tower.encode(each)));
    results.forEach(({ status: how }, index) =>
      assert.equal(how, index === 11 ? 'rejected' : 'fulfilled', texts[index]),
    );
    failure('ENDPOINT_INPUT_REFUSED')((results[11] as PromiseRejectedResult).reason);
    // One in five sizes, with the other half of each; attempts at a server that may be broken besides.
    assert.ok(endpoint.seen.length <= (status === 500 ? 14 : 9), String(endpoint.seen.length));
  });
}

test('a server that breaks on every text is away, and no text is to blame', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  endpoint.behaviour.fault = () => ({ status: 500 });
  await assert.rejects(encodeTexts(tower, ['hello', 'world']), failure('ENDPOINT_UNAVAILABLE'));
});

test('a batch that is too large is taken apart, and its size is remembered', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  endpoint.behaviour.maxInputs = 8;
  await encodeTexts(tower, TEXTS);
  const before = endpoint.seen.length;
  await tower.encodeAll(await tower.tokenizeAll(TEXTS));
  assert.ok(endpoint.seen.slice(before).every(({ input }) => input.length <= 8));
});

test('a batch with too many tokens is taken apart, and later ones have fewer', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  endpoint.behaviour.maxTokens = 70;
  await encodeTexts(tower, TEXTS);
  const before = endpoint.seen.length;
  await tower.encodeAll(await tower.tokenizeAll(TEXTS));
  const after = endpoint.seen.slice(before);
  assert.ok(after.length < TEXTS.length, 'one by one would be safe and slow');
  await tower.encodeAll(await tower.tokenizeAll(TEXTS.map(() => 'star')));
  const most = Math.max(...endpoint.seen.map(({ input }) => input.length));
  assert.ok(most > 8, 'the number of texts has no limit');
});

test('429 and 503 are waited for as long as the server says', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  const times: number[] = [];
  endpoint.behaviour.fault = ({ number }) => {
    times.push(performance.now());
    if (number === 1) return { status: 429, headers: { 'retry-after': '1' } };
    if (number === 2)
      return { status: 503, headers: { 'retry-after': new Date(Date.now() + 1500).toUTCString() } };
    return undefined;
  };
  await encodeTexts(tower, ['hello']);
  assert.equal(times.length, 3);
  assert.ok(times[1]! - times[0]! >= 990);
  // The date has whole seconds.
  assert.ok(times[2]! - times[1]! >= 400);
});

test('a server that wants to be left alone for longer than we wait says so to the caller', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  endpoint.behaviour.fault = () => ({ status: 429, headers: { 'retry-after': '600' } });
  const started = performance.now();
  for (const _ of [1, 2]) {
    await assert.rejects(encodeTexts(tower, ['hello']), (error) => {
      failure('ENDPOINT_UNAVAILABLE')(error);
      assert.ok((error as TowerError).retryDelayMs! > 590_000);
      return true;
    });
  }
  assert.equal(endpoint.seen.length, 1, 'it was not left alone');
  assert.ok(performance.now() - started < 60_000);
});

test('a connection that is cut is made again', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  endpoint.behaviour.fault = ({ number }) => (number === 1 ? { reset: true } : undefined);
  await encodeTexts(tower, ['hello']);
  assert.equal(endpoint.seen.length, 2);
});

test('a server that hangs is given up', async (context) => {
  const { tower, endpoint } = await remoteTower(context, { facts: { timeoutMs: 300 } });
  endpoint.behaviour.fault = () => ({ hang: true });
  await assert.rejects(encodeTexts(tower, ['hello']), failure('ENDPOINT_UNAVAILABLE'));
  assert.equal(endpoint.seen.length, 2);
  endpoint.behaviour.fault = () => undefined;
  await encodeTexts(tower, ['hello']);
});

test('a server that is down fails what is asked, and answers when it is back; a probe tells', async (context) => {
  const { tower, endpoint, reference, cacheDir } = await remoteTower(context);
  await endpoint.stop();
  await assert.rejects(encodeTexts(tower, ['hello']), (error) => {
    failure('ENDPOINT_UNAVAILABLE')(error);
    assert.ok((error as TowerError).retryDelayMs! > 0);
    return true;
  });
  await assert.rejects(tower.probe!(), failure('ENDPOINT_UNAVAILABLE'));
  // What was made before opens, whether the server is there or not.
  const other = await openTower(reference, { cacheDir });
  await other.close();
  await endpoint.restart();
  await tower.probe!();
  await encodeTexts(tower, ['hello']);
  const asked = endpoint.seen.length;
  await tower.probe!();
  assert.equal(endpoint.seen.length, asked, 'a probe of a server that answers costs nothing');
});

test('a text that the server cuts is refused, and alone', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  endpoint.behaviour.cutAt = 20;
  const tokens = await tower.tokenizeAll(['hello', 'star '.repeat(50), 'world']);
  const results = await Promise.allSettled(tokens.map((each) => tower.encode(each)));
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  failure('ENDPOINT_INPUT_REFUSED', 'truncated')((results[1] as PromiseRejectedResult).reason);
});

test('spending stops before the limit, and says how much was spent', async (context) => {
  const { tower, endpoint } = await remoteTower(context, {
    remote: { maxTokensSpent: 30 },
    facts: { price: { perMillionTokens: 2, currency: 'USD' } },
  });
  await encodeTexts(tower, ['star star star star star star star star']);
  await encodeTexts(tower, ['star star star star star star star star']);
  await assert.rejects(
    encodeTexts(tower, ['star star star star star star star star star']),
    failure('SPENDING_LIMIT_REACHED'),
  );
  assert.equal(endpoint.seen.length, 2);
  assert.deepEqual(tower.spent, { tokens: 20, requests: 2, money: 0.00004, currency: 'USD' });
});

test('the queue is bounded, and says when to come again', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  endpoint.behaviour.delayMs = 100;
  const tokens = await tower.tokenize('hello');
  const all = await Promise.allSettled(Array.from({ length: 6_000 }, () => tower.encode(tokens)));
  const refused = all.filter((each) => each.status === 'rejected');
  assert.ok(refused.length > 0 && refused.length < 2_000);
  failure('ENCODER_OVERLOADED')(refused[0]!.reason);
  assert.ok((refused[0]!.reason as TowerError).retryDelayMs! > 0);
});

test('closing does not wait for a server that hangs', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  endpoint.behaviour.fault = () => ({ hang: true });
  const encoding = assert.rejects(encodeTexts(tower, ['hello']), failure('ENCODER_CLOSED'));
  while (endpoint.seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await tower.close();
  await encoding;
});

test('another model behind the same name is not the recorded one', async (context) => {
  const { tower, endpoint } = await remoteTower(context);
  const golden = await readGolden(tower);
  assert.equal((await compareGolden(tower, golden!)).drifted, false);
  endpoint.behaviour.seed = 1;
  assert.equal((await compareGolden(tower, golden!)).drifted, true);
});

test('the key goes in the header, and into no error and no file', async (context) => {
  const key = 'sk-very-secret';
  process.env['SCALINGNOTE_REMOTE_KEY_TEST'] = key;
  context.after(() => delete process.env['SCALINGNOTE_REMOTE_KEY_TEST']);
  const { tower, endpoint } = await remoteTower(context, {
    behaviour: { key },
    facts: { keyEnv: 'SCALINGNOTE_REMOTE_KEY_TEST' },
  });
  await encodeTexts(tower, ['hello']);
  assert.equal(endpoint.seen.at(-1)!.headers.authorization, `Bearer ${key}`);
  assert.ok(!JSON.stringify(tower.manifest).includes(key));
  endpoint.behaviour.fault = () => ({
    status: 418,
    body: JSON.stringify({ error: { message: `your key ${key}` } }),
  });
  await assert.rejects(encodeTexts(tower, ['hello']), (error) => {
    failure('ENDPOINT_REFUSED')(error);
    assert.ok(!(error as Error).message.includes(key) && (error as Error).message.includes('[key]'));
    return true;
  });
  await assert.rejects(openTower('remote:http://me:secret@127.0.0.1:1#tiny'), (error) => {
    failure('TOWER_REFERENCE_INVALID')(error);
    return !(error as Error).message.includes('secret@');
  });
});
