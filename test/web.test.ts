import type * as WebClientModule from '../clients/web/client.ts';
import type * as TowerModule from '../clients/web/tower.ts';
import assert from 'node:assert/strict';
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { LookupTower, parseManifest } from '../towers/lookup/tower.ts';
import { callUnary } from '../services/runtime/testing/harness.ts';
import { startQuery, type QueryHarness } from '../services/query/testing/harness.ts';
import { launch } from './browser.ts';
import { optionalTool } from './testing/optional-tool.ts';

/**
 * `@scalingnote/web` in a browser. The page comes from one origin, the tower's files and the searches from another. What
 * answers for the query service is a small gateway to the real one, over gRPC, with a store that is made up.
 */

const { path: chromium, skip } = optionalTool('chromium');
const dist = fileURLToPath(new URL('../../clients/web/dist/', import.meta.url));
const tower = fileURLToPath(new URL('../../towers/shipped/all-MiniLM-L6-v2-lookup/', import.meta.url));
const manifest = parseManifest(readFileSync(`${tower}tower.json`, 'utf8'));
const MAX_GZIPPED = 30 * 1024;
const MAX_DOWNLOAD = 16 * 1024 * 1024;

const PAGE = `<!doctype html><title>search</title><input aria-label="search"><ul></ul>
<script type="module">
  import * as web from '/clients/web/index.js';
  window.web = web;
  const client = new web.WebClient(new URLSearchParams(location.search).get('service'));
  const list = document.querySelector('ul');
  document.querySelector('input').addEventListener('input', async ({ target }) => {
    if (target.value === '') return;
    try {
      const { hits } = await client.searchAsYouType({ collection: 'docs', query: target.value });
      list.replaceChildren(...hits.map(({ title }) => Object.assign(document.createElement('li'), { textContent: title })));
    } catch (error) {
      if (error.code !== 'canceled') list.textContent = String(error);
    }
  });
</script>`;

const servers: Server[] = [];
const fetched: string[] = [];
let harness: QueryHarness | undefined;
let browser: Browser | undefined;
let page: Page;
let elsewhere = '';

async function listen(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

before(async () => {
  if (chromium === undefined) return;
  harness = await startQuery();
  const { client, store } = harness;
  store.find = ({ query }) => [
    { documentId: 'd', score: 1, passage: 0, title: `${query.vector!.length} numbers`, version: 1 },
  ];
  elsewhere = await listen(
    createServer((request, response) => {
      response.setHeader('access-control-allow-origin', '*');
      response.setHeader('access-control-allow-headers', '*');
      const name = request.url!.split('/').at(-1)!;
      if (request.method === 'OPTIONS') return void response.end();
      if (request.method === 'GET') {
        fetched.push(name);
        return void createReadStream(`${tower}${name}`).pipe(response);
      }
      let body = '';
      request.on('data', (chunk) => (body += String(chunk)));
      request.on('end', () => {
        callUnary<object>(client, name as 'Search', JSON.parse(body) as object).then(
          (answer) => response.end(JSON.stringify(answer)),
          (error: Error) =>
            response.writeHead(400).end(JSON.stringify({ code: 'unknown', message: error.message })),
        );
      });
    }),
  );
  const own = await listen(
    createServer((request, response) => {
      const { pathname } = new URL(request.url!, 'http://page');
      const isScript = pathname.endsWith('.js') && existsSync(dist + pathname.slice(1));
      response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
      if (isScript) createReadStream(dist + pathname.slice(1)).pipe(response);
      else response.end(PAGE);
    }),
  );
  browser = await launch(chromium);
  page = await browser.newPage();
  page.setDefaultTimeout(30_000);
  await page.goto(`${own}/?service=${encodeURIComponent(elsewhere)}`);
  await page.waitForFunction('window.web !== undefined');
});

after(async () => {
  await browser?.close();
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await harness?.stop();
});

test('a page searches as one types, from another origin', { skip }, async () => {
  await page.getByRole('textbox').pressSequentially('stars');
  await page.getByRole('listitem').getByText('numbers').waitFor();
  const asked = await page.evaluate(async (service) => {
    const { WebClient } = (globalThis as never as { web: typeof WebClientModule }).web;
    const client = new WebClient(service);
    const request = { collection: 'docs', query: 'x', treshold: 1 };
    return client.search(request).catch((error: Error) => error.message);
  }, elsewhere);
  assert.match(asked as string, /treshold: is no field that is known here/);
});

test('a page encodes what the service would, and fetches the tower once', { skip }, async (context) => {
  const texts = ['a person who studies stars', 'Ärger İn ΟΔΟΣ 東京', '[CLS] x', 'naïve cafe\u0301'];
  const inPage = async (): Promise<{ vectors: number[][]; ms: number }> =>
    page.evaluate(
      async ({ folder, space, texts }) => {
        const { loadTower } = (globalThis as never as { web: typeof TowerModule }).web;
        const tower = await loadTower(folder, { space });
        const vectors = texts.map((text) => Array.from(tower.encode(text).vector));
        const started = performance.now();
        for (let i = 0; i < 1000; i++) tower.encode(`${texts[i % texts.length]} ${i}`);
        return { vectors, ms: (performance.now() - started) / 1000 };
      },
      { folder: `${elsewhere}/tower`, space: manifest.fingerprint, texts },
    );
  await inPage();
  const { vectors, ms } = await inPage();
  context.diagnostic(`${ms} ms a query`);
  assert.deepEqual(fetched.sort(), ['model.onnx', 'tokenizer.json', 'tower.json', 'tower.json']);
  const model = readFileSync(`${tower}model.onnx`);
  const here = new LookupTower(manifest, {
    tokenizer: readFileSync(`${tower}tokenizer.json`, 'utf8'),
    model,
  });
  for (const [index, text] of texts.entries()) {
    for (const [i, value] of here.encode(text).vector.entries()) {
      assert.ok(Math.abs(value - vectors[index]![i]!) < 1e-6, text);
    }
  }
});

test('a tower of another space is refused', { skip }, async () => {
  const refusal = await page.evaluate(async (folder) => {
    const { loadTower } = (globalThis as never as { web: typeof TowerModule }).web;
    return loadTower(folder, { space: 'sp1_other' }).then(String, (error: Error) => error.message);
  }, `${elsewhere}/tower`);
  assert.match(refusal, /is of space sp1_94ab.*, not of sp1_other/);
});

test('client and encoder are at most 30 KB gzipped and need nothing of Node; the tower is at most 16 MB', () => {
  const scripts = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.js'),
  );
  const source = scripts.map((path) => readFileSync(dist + path, 'utf8')).join('\n');
  assert.ok(gzipSync(source).length <= MAX_GZIPPED, `${gzipSync(source).length} bytes`);
  const foreign = [...source.matchAll(/from\s+['"]([^'"]+)['"]/g)]
    .map(([, from]) => from!)
    .filter((from) => !from.startsWith('.'));
  assert.deepEqual(foreign, []);
  const files = ['tower.json', 'tokenizer.json', 'model.onnx'];
  assert.ok(files.reduce((sum, name) => sum + readFileSync(tower + name).length, 0) <= MAX_DOWNLOAD);
});
