import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { DocumentClient } from '../clients/index.ts';
import { writeTinyTower } from '../towers/testing/tiny-tower.ts';
import { launch } from './browser.ts';
import { freePort } from '../cli/service-processes.ts';
import { makeKey } from '../keys/key.ts';
import { pageRoutes } from '../services/console/http/files.ts';
import { loginRoutes } from '../services/console/login/routes.ts';
import { Sessions } from '../services/console/login/sessions.ts';
import { searchRoutes } from '../services/console/search/routes.ts';
import { systemRoutes } from '../services/console/system.ts';
import { serveRoutes } from '../services/console/testing/bridge.ts';
import { startGuarded } from '../services/console/testing/guarded.ts';
import { type Process, startService, stopServices } from '../services/runtime/testing/processes.ts';
import { optionalTool } from './testing/optional-tool.ts';

/**
 * The console as people use it: a browser, both services and the console as processes, and a store on disk. The
 * towers are tiny ones of letters, so that nothing has to be fetched; which hits are best is not theirs to say, and
 * where it matters the search is by wording.
 */

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-browser-'));
const { path: chromium, skip } = optionalTool('chromium');

let browser: Browser;
let page: Page;
let queries: Process;
let base: string;
/** What the page asked for, and what the browser complained of. */
const asked: string[] = [];
const complaints: string[] = [];

before(async () => {
  if (chromium === undefined) return;
  const document = join(folder, 'document');
  const query = join(folder, 'query');
  writeTinyTower(document);
  writeTinyTower(query, { role: 'query' });
  const port = await freePort();
  base = `http://127.0.0.1:${port}`;
  const common = [
    '--port',
    '0',
    '--metrics-port',
    '0',
    '--data',
    join(folder, 'data'),
    '--console-address',
    `127.0.0.1:${port}`,
  ];
  const [documents, students, teachers] = await Promise.all([
    startService('document', ...common, '--document-tower', `file:${document}`),
    startService('query', ...common, '--query-tower', `file:${query}`),
    startService('query', ...common, '--query-tower', `file:${document}`),
  ]);
  const client = new DocumentClient({ address: documents.address });
  await client.ingest(
    ['a star in the sky', 'hello world', 'an astronomer looks at stars'].map((text, index) => ({
      id: `d${index}`,
      title: text,
      text,
      metadata: { place: index },
    })),
    { collection: 'notes' },
  );
  client.close();
  queries = students;
  const services = [
    '--document-address',
    documents.address,
    '--query-address',
    students.address,
    '--compare-addresses',
    teachers.address,
  ];
  await startService('console', '--port', String(port), ...services);
  browser = await launch(chromium);
  page = await browser.newPage();
  page.on('request', (request) => asked.push(request.url()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    // A trace that is not there yet is asked for again.
    if (message.type() === 'error' && !/404/.test(message.text())) complaints.push(message.text());
  });
  page.setDefaultTimeout(30_000);
  await page.goto(base);
  await page.getByRole('status').getByText('serving').waitFor();
});

after(async () => {
  await browser?.close();
  await stopServices();
  rmSync(folder, { recursive: true, force: true });
});

test('hits come as one types, within a second, and the keyboard leads through them', { skip }, async () => {
  let fastest = Number.POSITIVE_INFINITY;
  for (const text of ['s', 'sta', 'a star in']) {
    await page.keyboard.press('/');
    await box().fill('');
    await box().pressSequentially(text);
    const begun = performance.now();
    await page.getByRole('list', { name: 'hits' }).getByRole('listitem').first().waitFor();
    fastest = Math.min(fastest, performance.now() - begun);
  }
  assert.ok(fastest < 1000, `the first hit took ${fastest} ms`);
  // Hits of a text that was not typed to its end may still be on their way, and would take the place of these.
  await page.getByText(/hits? for a star in,/).waitFor({ state: 'attached' });
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('.hit-head').first().getAttribute('aria-expanded'), 'true');
  await page.keyboard.press('Escape');
  await page.locator('#query:focus').waitFor();
  assert.match(await page.locator('.stages').innerText(), /tokenise.*queue.*encode.*store/s);
});

test('a filter narrows the hits, and one that is wrong says how to write it', { skip }, async () => {
  await box().fill('star');
  const filter = page.getByRole('textbox', { name: 'add a filter' });
  await filter.fill('metadata.place>=2');
  await filter.press('Enter');
  await hits(1);
  assert.match(await page.locator('.hit').innerText(), /an astronomer/);
  await filter.fill('=wrong');
  await filter.press('Enter');
  await page.getByRole('alert').getByText('FIELD=VALUE').waitFor();
  await page.getByRole('button', { name: 'remove filter =wrong' }).click();
  await page.getByRole('button', { name: 'remove filter metadata.place>=2' }).click();
  await hits(3);
});

test('a hit says why it ranks there, and a document why it is not there', { skip }, async () => {
  await box().fill('star');
  await page.getByRole('checkbox', { name: 'explain' }).check();
  await page
    .locator('.hit .reasons')
    .first()
    .getByText(/by meaning .*place 1/)
    .waitFor();
  await page.locator('.hit mark').getByText('star', { exact: true }).first().waitFor();
  const id = page.getByRole('textbox', { name: 'id of a document to ask about' });
  await id.fill('nobody');
  await id.press('Enter');
  await page.getByRole('note').getByText('no document of this id').waitFor();
  await page.getByRole('checkbox', { name: 'explain' }).uncheck();
});

test('an unfinished word is completed, and inflections are marked', { skip }, async () => {
  await page.getByRole('radio', { name: 'both' }).check();
  await box().fill('');
  await box().pressSequentially('astron');
  const first = page.locator('.hit').first();
  await first.locator('mark').getByText('astronomer', { exact: true }).waitFor();
  assert.equal(await first.locator('.hit-title').innerText(), 'an astronomer looks at stars');
  await page.getByRole('button', { name: 'astronomer', exact: true }).click();
  assert.equal(await box().inputValue(), 'astronomer');
  await box().fill('astornomer');
  await page.getByText('Did you mean').waitFor();
  await page.getByRole('button', { name: 'astronomer', exact: true }).click();
  assert.equal(await box().inputValue(), 'astronomer');
  await page.getByRole('radio', { name: 'meaning' }).check();
  await box().fill('worlds');
  await page.locator('.hit mark').getByText('world', { exact: true }).waitFor();
});

test('query towers stand side by side, with the cosine to the teacher', { skip }, async () => {
  await page.getByRole('checkbox', { name: 'compare towers' }).check();
  // Both towers are the same model, so they agree; the one that reads documents is the teacher.
  await hits(6);
  const columns = await page.locator('.column').allInnerTexts();
  assert.match(columns[0]!, /cosine\s+1\.000/);
  assert.match(columns[0]!, /overlap@10\s+100 %/);
  assert.match(columns[1]!, /teacher/);
  await page.getByRole('checkbox', { name: 'compare towers' }).uncheck();
});

test('a file that is dropped becomes searchable, and its bad lines are told', { skip }, async () => {
  await page.getByRole('tab', { name: 'ingest' }).click();
  await page.getByRole('combobox', { name: 'into the collection' }).fill('dropped');
  const lines = Array.from(
    { length: 200 },
    (_, index) => `{"id":"x${index}","text":"lines of the file ${index}"}`,
  );
  await drop('lines.jsonl', Buffer.from(`${lines.join('\n')}\n{"id":\n`));
  const first = page.getByRole('article', { name: 'ingest of lines.jsonl' });
  await first.getByText('searchable', { exact: true }).waitFor();
  assert.match(await first.innerText(), /indexed\s+200/);
  await first.getByText('1 line rejected').click();
  assert.match(await first.getByRole('row').last().innerText(), /^201\b.*is not JSON/s);

  await drop('packed.jsonl.gz', gzipSync('{"id":"p","text":"unpacked on the way"}'));
  const second = page.getByRole('article', { name: 'ingest of packed.jsonl.gz' });
  await second.getByRole('button', { name: 'Search it' }).click();
  await page.getByRole('radio', { name: 'wording' }).check();
  await box().fill('unpacked');
  await page.locator('.hit').getByText('unpacked on').waitFor();
});

test('the trace of a search is one click away, with its stages', { skip }, async () => {
  await page.getByRole('combobox', { name: 'collection' }).selectOption('notes');
  await page.getByRole('radio', { name: 'both' }).check();
  await box().fill('a trace of hello');
  await page.locator('.hit').first().waitFor();
  await page.getByRole('link', { name: 'Trace of this search' }).click();
  const rows = page.locator('.waterfall .row-name');
  for (const stage of ['tokenize', 'encode', 'store']) await rows.getByText(stage).first().waitFor();
  await rows.getByText('encode').first().click();
  await page.getByRole('heading', { name: 'Attributes' }).waitFor();
  await page.getByRole('link', { name: 'all traces' }).click();
  await page.getByRole('list', { name: 'latest traces' }).getByRole('listitem').first().waitFor();
});

test('the system view says what there is', { skip }, async () => {
  const tabs = page.getByRole('tab');
  await tabs.first().focus();
  await page.keyboard.press('End');
  await page.locator('#tab-system:focus').waitFor();
  await page
    .getByRole('article', { name: /^query service/ })
    .first()
    .waitFor();
  const text = await page.getByRole('tabpanel').innerText();
  assert.match(text, /document service\s+serving/);
  assert.match(text, /sp1_[0-9a-f]{32}/);
  assert.match(text, /dropped--sp1_/);
});

test('a service that dies is told, and what to do', { skip }, async () => {
  await queries.stop();
  await page.getByRole('status').getByText('1 service away').waitFor();
  await page.getByRole('tab', { name: 'search' }).click();
  await box().fill('anybody');
  await page.getByRole('alert').getByText('scalingnote up').waitFor();
});

test('nothing came from elsewhere, and the browser had nothing to complain of', { skip }, () => {
  assert.deepEqual(
    asked.filter((url) => !url.startsWith(`${base}/`)),
    [],
  );
  // 503 is what the last test was about.
  assert.deepEqual(
    complaints.filter((text) => !/400|503/.test(text)),
    [],
  );
});

test('a person logs in with a key, or at an issuer of another site, and out again', { skip }, async () => {
  const guarded = await startGuarded();
  const addresses = { document: guarded.address, queries: [guarded.address] };
  const sessions = new Sessions(addresses, [], false);
  const { deskOf } = sessions;
  const issuer = guarded.issuer();
  const bridge = await serveRoutes([
    loginRoutes(sessions, addresses, issuer),
    searchRoutes(deskOf),
    systemRoutes(deskOf),
    pageRoutes(),
  ]);
  const context = await browser.newContext();
  try {
    const login = await context.newPage();
    login.setDefaultTimeout(30_000);
    const errors: string[] = [];
    login.on('pageerror', (error) => errors.push(error.message));
    // The issuer is at 127.0.0.1, which is another site.
    const home = `http://localhost:${bridge.address.split(':')[1]}/`;
    await login.goto(home);
    const field = login.getByLabel('API key or token');
    const enter = login.getByRole('button', { name: 'log in', exact: true });
    const out = login.getByRole('button', { name: 'log out' });
    await field.fill(makeKey().text);
    await enter.click();
    await login.getByRole('alert').getByText('the key').waitFor();
    assert.equal(await field.inputValue(), '');
    await field.fill(guarded.key);
    await enter.click();
    await out.waitFor();
    assert.equal(await login.evaluate('document.cookie'), '');
    assert.equal(await login.evaluate('localStorage.length + sessionStorage.length'), 0);
    assert.ok(!(await login.content()).includes(guarded.key));
    await login.reload();
    await out.click();
    await enter.waitFor();
    assert.equal(sessions.size, 0);

    const atIssuer = login.getByRole('button', { name: `log in at ${new URL(issuer.name).host}` });
    await atIssuer.click();
    await out.waitFor();
    assert.equal(login.url(), home);
    assert.equal(sessions.size, 1);
    await out.click();
    await login.getByRole('heading', { name: 'logged out' }).waitFor();
    assert.equal(new URL(login.url()).origin, issuer.name);
    assert.equal(sessions.size, 0);

    guarded.provider.lie = { claims: { nonce: 'another' } };
    await login.goto(home);
    await atIssuer.click();
    await login.getByRole('alert').getByText('can’t be trusted').waitFor();
    await login.getByRole('link', { name: 'back to the login' }).click();
    await enter.waitFor();
    assert.deepEqual(errors, []);
  } finally {
    await context.close();
    await bridge.stop();
    await sessions.close();
    await issuer.close();
    await guarded.stop();
  }
});

function box() {
  return page.getByRole('searchbox', { name: 'Search' });
}

/** Waits until so many hits are shown. */
async function hits(count: number): Promise<void> {
  while ((await page.locator('.hit').count()) !== count) await page.waitForTimeout(10);
}

/** Lets go of a file over the page, as a hand with a mouse does. */
async function drop(name: string, bytes: Buffer): Promise<void> {
  // As text: what runs in a browser has other types than what runs here.
  const transfer = await page.evaluateHandle(`{
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob('${bytes.toString('base64')}'), (each) => each.codePointAt(0));
    data.items.add(new File([bytes], '${name}'));
    data;
  }`);
  await page.locator('.drop').dispatchEvent('drop', { dataTransfer: transfer });
}
