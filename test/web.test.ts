import type * as Web from '../clients/web/client.ts';
import type * as WebTower from '../clients/web/tower.ts';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { gzipSync } from 'node:zlib';
import type { Browser, Page, Request } from 'playwright-core';
import { launch } from './browser.ts';
import { optionalTool } from './testing/optional-tool.ts';
import { startWebSystem, type WebSystem } from './testing/web.ts';

/** `@scalingnote/web` in a browser: the page comes from one origin, the tower's files and the searches from another. */

const { path: chromium, skip } = optionalTool('chromium');
const dist = fileURLToPath(new URL('../../clients/web/dist/', import.meta.url));
const tower = fileURLToPath(new URL('../../towers/shipped/all-MiniLM-L6-v2-lookup/', import.meta.url));
const MAX_GZIPPED = 30 * 1024;
const MAX_DOWNLOAD = 16 * 1024 * 1024;
const TEXTS = [
  'a person who studies stars',
  'Ärger İn ΟΔΟΣ 東京',
  '[CLS] x',
  'naïve cafe\u0301',
  'star '.repeat(200),
];

/** What a page has of the package. */
type Package = typeof Web & typeof WebTower;

let system: WebSystem;
let browser: Browser;
let page: Page;
const fetched: string[] = [];

before(async () => {
  if (chromium === undefined) return;
  system = await startWebSystem();
  browser = await launch(chromium);
  page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  page.on('request', (request: Request) => {
    const { pathname } = new URL(request.url());
    if (pathname.startsWith('/v1/tower/')) fetched.push(pathname.split('/').at(-1)!);
  });
  await page.goto(system.page);
  await page.evaluate("import('/package/clients/web/index.js').then((web) => void (window.web = web))");
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

test('a page searches from another origin, and what is wrong is said by name', { skip }, async () => {
  const found = await page.evaluate(async (service) => {
    const { WebClient } = (globalThis as never as { web: Package }).web;
    const client = new WebClient(service);
    const { hits } = await client.search({
      collection: 'docs',
      query: 'a person who studies stars',
      limit: 2,
    });
    const wrong = { collection: 'docs', query: 'x', limit: 5_000 };
    const error = (await client.search(wrong).catch((reason: unknown) => reason)) as Web.SearchResult & {
      reason: string;
      violations: { field: string }[];
    };
    return {
      titles: hits.map(({ title }) => title),
      reason: error.reason,
      field: error.violations[0]?.field,
    };
  }, system.service);
  assert.equal(found.titles[0], 'astronomer');
  assert.equal(found.titles.length, 2);
  assert.deepEqual([found.reason, found.field], ['INVALID_ARGUMENT', 'limit']);
});

/** What the page's tower makes of {@link TEXTS}, and the hits that it finds by vector. */
const onPage = async (): Promise<{ vectors: number[][]; ms: number; best: string; files: string[] }> =>
  page.evaluate(
    async ({ service, space, texts }) => {
      const { loadTower, WebClient } = (globalThis as never as { web: Package }).web;
      const files = new Map<string, number>();
      const tower = await loadTower(service, {
        space,
        onProgress: ({ file, loadedBytes, totalBytes }) => files.set(file, loadedBytes / totalBytes!),
      });
      const vectors = texts.map((text) => Array.from(tower.encode(text).vector));
      const { vector } = tower.encode(texts[0]!);
      const search = { collection: 'docs' };
      const { hits } = await new WebClient(service).searchByVector({ search, space, vector });
      const started = performance.now();
      for (let i = 0; i < 1000; i++) tower.encode(`${texts[i % 4]} ${i}`);
      const ms = (performance.now() - started) / 1000;
      return {
        vectors,
        ms,
        best: hits[0]!.title!,
        files: [...files].map(([name, share]) => `${name} ${share}`).sort(),
      };
    },
    { service: system.service, space: system.space, texts: TEXTS },
  );

async function assertAsTheService(vectors: readonly (readonly number[])[]): Promise<void> {
  for (const [index, text] of TEXTS.entries()) {
    const { vector } = await system.tower.encode(await system.tower.tokenize(text.normalize('NFC').trim()));
    for (const [i, value] of vector.entries()) {
      assert.ok(Math.abs(value - vectors[index]![i]!) < 1e-6, `${text}, ${i}`);
    }
  }
}

test(
  'a page encodes what the service would, and fetches the tower from it once',
  { skip },
  async (context) => {
    const first = await onPage();
    assert.deepEqual(first.files, ['model.onnx 1', 'tokenizer.json 1', 'tower.json 1']);
    const { vectors, ms, best, files } = await onPage();
    context.diagnostic(`${ms} ms a query`);
    assert.equal(best, 'astronomer');
    assert.deepEqual(files, ['tower.json 1']);
    assert.deepEqual(fetched.sort(), ['model.onnx', 'tokenizer.json', 'tower.json', 'tower.json']);
    await assertAsTheService(vectors);
  },
);

const refusal = (address: string, options: object): Promise<string> =>
  page.evaluate(
    async ({ address, options }) => {
      const { loadTower } = (globalThis as never as { web: Package }).web;
      return loadTower(address, options as { space: string }).then(
        () => 'loaded',
        (error: Error) => error.message,
      );
    },
    { address, options },
  );

test(
  'a tower that is changed by one byte, of another space, or too large is refused by name',
  { skip },
  async () => {
    const { service, space } = system;
    for (const [name, why] of [
      ['model.onnx', /model\.onnx has hash [0-9a-f]{64}; tower\.json says [0-9a-f]{4}/],
      ['tokenizer.json', /tokenizer\.json has hash/],
      ['tower.json', /space\.fingerprint is sp1_94.*, but the definition has sp1_|is no JSON|must be/],
    ] as const) {
      await page.evaluate('caches.delete("scalingnote-towers")');
      const pattern = `**/v1/tower/**/${name}*`;
      await page.route(pattern, async (route) => {
        const response = await route.fetch();
        const body = await response.body();
        // In the middle; of the manifest, a digit of the space's definition.
        const at = name === 'tower.json' ? body.indexOf('e4dcb918') : body.length >> 1;
        body[at]! ^= 1;
        await route.fulfill({ response, body });
      });
      assert.match(await refusal(service, { space }), why, name);
      await page.unroute(pattern);
    }
    // What was refused is not in the cache.
    assert.equal(await refusal(service, { space }), 'loaded');
    const other = `sp1_${'0'.repeat(32)}`;
    assert.match(
      await refusal(service, { space: other }),
      /answers 404: this service has the tower of space sp1_94ab/,
    );
    assert.match(
      await refusal(`${service}/v1/tower/${space}/`, { space: other, at: 'folder' }),
      /is of space sp1_94ab/,
    );
    assert.equal(await refusal(`${service}/v1/tower/${space}/`, { space, at: 'folder' }), 'loaded');
    assert.match(await refusal(service, { space: 'x' }), /^space: is "x"; give the fingerprint/);
    assert.match(await refusal(service, { space, folder: 'x' }), /^folder: is no option/);
    await page.route('**/v1/tower/**/tower.json', (route) => {
      const path = fileURLToPath(
        new URL('../../towers/shipped/all-MiniLM-L6-v2-transformer-2/tower.json', import.meta.url),
      );
      return route.fulfill({ path, headers: { 'access-control-allow-origin': '*' } });
    });
    assert.match(
      await refusal(service, { space }),
      /is a student of the kind transformer:2 and has no list of stages/,
    );
    await page.unroute('**/v1/tower/**/tower.json');
  },
);

test('a page whose policy forbids WebAssembly encodes the same', { skip }, async () => {
  const strict = await browser.newPage();
  try {
    await strict.goto(system.page);
    await strict.evaluate("import('/package/clients/web/index.js').then((web) => void (window.web = web))");
    const isForbidden = await strict.evaluate(`(() => {
      const policy = document.createElement('meta');
      policy.httpEquiv = 'Content-Security-Policy';
      policy.content = "script-src 'self'";
      document.head.append(policy);
      return WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)).then(() => false, () => true);
    })()`);
    assert.equal(isForbidden, true);
    const vectors = await strict.evaluate(
      async ({ service, space, texts }) => {
        const tower = await (globalThis as never as { web: Package }).web.loadTower(service, { space });
        return texts.map((text) => Array.from(tower.encode(text).vector));
      },
      { service: system.service, space: system.space, texts: TEXTS },
    );
    await assertAsTheService(vectors);
  } finally {
    await strict.close();
  }
});

test('a worker without a page encodes the same', { skip }, async () => {
  const { service, space } = system;
  const program = `const { loadTower } = await import('${system.page}package/clients/web/index.js');
    const tower = await loadTower('${service}', { space: '${space}' });
    postMessage(${JSON.stringify(TEXTS)}.map((text) => Array.from(tower.encode(text).vector)));`;
  const vectors: number[][] = await page.evaluate(`new Promise((resolve, reject) => {
    const program = new Blob([${JSON.stringify(program)}], { type: 'text/javascript' });
    const worker = new Worker(URL.createObjectURL(program), { type: 'module' });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  })`);
  await assertAsTheService(vectors);
});

test('in Node, a worker loads the package, the element as well, and encodes', async () => {
  const read = (name: string): Buffer => readFileSync(tower + name);
  const program = `import { parentPort, workerData } from 'node:worker_threads';
    const { files } = workerData;
    globalThis.fetch = async (url) => {
      const bytes = files[new URL(url).pathname.split('/').at(-1)];
      const start = (controller) => (controller.enqueue(bytes), controller.close());
      return { ok: true, headers: new Map(), body: new ReadableStream({ start }) };
    };
    for (const name of ['process', 'Buffer', 'require', 'global']) delete globalThis[name];
    const { loadTower } = await import(workerData.base + 'index.js');
    await import(workerData.base + 'element.js');
    const tower = await loadTower('https://service.example', { space: workerData.space });
    parentPort.postMessage(tower.encode('a person who studies stars').vector.length);`;
  const files = Object.fromEntries(
    ['tower.json', 'tokenizer.json', 'model.onnx'].map((name) => [name, read(name)]),
  );
  const { space } = JSON.parse(read('tower.json').toString()) as { space: { fingerprint: string } };
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`), {
    workerData: {
      files,
      space: space.fingerprint,
      base: new URL('../../clients/web/dist/clients/web/', import.meta.url).href,
    },
  });
  const length = await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
  await worker.terminate();
  assert.equal(length, 384);
});

test('client, encoder and element are at most 30 KB gzipped and need nothing of Node; the tower is at most 16 MB', (context) => {
  const scripts = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.js'),
  );
  const source = scripts.map((path) => readFileSync(dist + path, 'utf8')).join('\n');
  const { length } = gzipSync(source);
  context.diagnostic(`${length} bytes`);
  assert.ok(length <= MAX_GZIPPED, `${length} bytes`);
  const foreign = [...source.matchAll(/from\s+['"]([^'"]+)['"]/g)]
    .map(([, from]) => from!)
    .filter((from) => !from.startsWith('.'));
  assert.deepEqual(foreign, []);
  const files = ['tower.json', 'tokenizer.json', 'model.onnx'];
  assert.ok(files.reduce((sum, name) => sum + readFileSync(tower + name).length, 0) <= MAX_DOWNLOAD);
});
