import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, beforeEach, test } from 'node:test';
import type { Browser, Locator, Page, Route } from 'playwright-core';
import { launch } from './browser.ts';
import { optionalTool } from './testing/optional-tool.ts';
import { startWebSystem, type WebSystem } from './testing/web.ts';

/** `<scalingnote-search>` on the example page, which searches from another origin. */

const { path: chromium, skip } = optionalTool('chromium');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');

let system: WebSystem;
let browser: Browser;
let page: Page;
let box: Locator;
let options: Locator;
let sent: { method: string; body: Record<string, unknown> }[];

before(async () => {
  if (chromium === undefined) return;
  system = await startWebSystem();
  browser = await launch(chromium);
});

after(async () => {
  await browser?.close();
  await system?.stop();
});

beforeEach(async () => {
  if (chromium === undefined) return;
  await page?.close();
  page = await browser.newPage();
  page.setDefaultTimeout(20_000);
  sent = [];
  page.on('request', (request) => {
    const method = new URL(request.url()).pathname.split('/').at(-1)!;
    if (request.method() === 'POST')
      sent.push({ method, body: request.postDataJSON() as Record<string, unknown> });
  });
  await open({});
});

/** Opens the example page with these attributes. */
async function open(attributes: Record<string, string>): Promise<void> {
  const asked = new URLSearchParams({
    endpoint: system.service,
    collection: 'docs',
    debounce: '0',
    ...attributes,
  });
  await page.goto(`${system.page}?${asked.toString()}`);
  await page.evaluate(`window.events = [];
    for (const type of ['select', 'results', 'error']) {
      document.addEventListener('scalingnote-' + type, ({ detail }) =>
        window.events.push([type, detail.message ?? detail.query ?? detail.title]));
    }
    customElements.whenDefined('scalingnote-search').then(() => true)`);
  box = page.getByRole('combobox');
  options = page.getByRole('option');
}

const events = (): Promise<[type: string, what: string][]> => page.evaluate('window.events');
const results = (query: string): Promise<unknown> =>
  page.waitForFunction(
    `window.events.some(([type, what]) => type === 'results' && what === ${JSON.stringify(query)})`,
  );

/** Id of the option that is active, as a screen reader has it. */
async function active(): Promise<number> {
  const id = await box.getAttribute('aria-activedescendant');
  const selected = await page.getByRole('option', { selected: true }).count();
  assert.equal(selected, id === null ? 0 : 1);
  return id === null ? -1 : Number(id.replace('option-', ''));
}

test('typing searches from another origin, and marks the words', { skip }, async () => {
  await box.pressSequentially('person who studies star');
  await options.first().getByText('astronomer').waitFor();
  assert.equal(await box.getAttribute('aria-expanded'), 'true');
  const marks = await options.first().locator('mark').allTextContents();
  assert.deepEqual(marks, ['person', 'who', 'studies', 'stars']);
  assert.equal(await page.getByRole('status').textContent(), '5 results');
  assert.ok(sent.length > 0 && sent.every(({ method }) => method === 'Search'));
});

test('documents become text and nothing else; case and accents do not count', { skip }, async () => {
  await box.fill('cafe bread img');
  await results('cafe bread img');
  const all = await options.allTextContents();
  assert.ok(
    all.some((text) => text.includes('<img src=x onerror="window.hacked = true">')),
    all.join(),
  );
  assert.ok(all.some((text) => text.includes('<script>window.hacked = true</script> & <b>bread</b>')));
  assert.equal(await page.evaluate('window.hacked'), undefined);
  assert.equal(await options.locator('img, script, b').count(), 0);
  const marks = await options.locator('mark').allTextContents();
  assert.ok(
    ['café', 'CAFÉ', 'bread', 'img'].every((word) => marks.includes(word)),
    marks.join(),
  );
});

test(
  'keys: arrows go round, Home and End, Enter chooses, Escape closes and then clears',
  { skip },
  async () => {
    await box.fill('stars');
    await results('stars');
    assert.equal(await active(), -1);
    const press = async (key: string): Promise<number> => {
      await box.press(key);
      return active();
    };
    assert.deepEqual(
      [await press('ArrowDown'), await press('ArrowDown'), await press('ArrowUp'), await press('ArrowUp')],
      [0, 1, 0, 4],
    );
    assert.deepEqual([await press('ArrowDown'), await press('End'), await press('Home')], [0, 4, 0]);
    assert.equal(await press('ArrowLeft'), -1);
    assert.ok(await box.evaluate('document.activeElement.tagName === "SCALINGNOTE-SEARCH"'));
    await press('Escape');
    assert.equal(await box.getAttribute('aria-expanded'), 'false');
    assert.deepEqual([await options.count(), await box.inputValue()], [0, 'stars']);
    assert.equal(await press('ArrowDown'), 0);
    assert.equal(await box.getAttribute('aria-expanded'), 'true');
    await press('Alt+ArrowUp');
    assert.equal(await box.getAttribute('aria-expanded'), 'false');
    await press('Alt+ArrowDown');
    assert.deepEqual([await box.getAttribute('aria-expanded'), await active()], ['true', -1]);
    await press('ArrowDown');
    const title = await options.first().locator('[part=title]').textContent();
    const asked = sent.length;
    await press('Enter');
    assert.deepEqual((await events()).at(-1), ['select', title]);
    assert.deepEqual([await box.inputValue(), await box.getAttribute('aria-expanded')], [title, 'false']);
    assert.equal(await page.locator('main strong').textContent(), title);
    await press('Escape');
    assert.equal(await box.inputValue(), '');
    // What was chosen is not searched again.
    assert.equal(sent.length, asked);
  },
);

test('a click chooses, and the input keeps the focus; leaving it closes the list', { skip }, async () => {
  await box.fill('bread');
  await results('bread');
  await options.filter({ hasText: 'bakes' }).click();
  assert.deepEqual((await events()).at(-1), ['select', 'baker']);
  await box.fill('stars');
  await results('stars');
  await page.getByRole('heading').click();
  assert.equal(await box.getAttribute('aria-expanded'), 'false');
});

test('an older answer never replaces a newer one', { skip }, async () => {
  const held: Route[] = [];
  await page.route('**/*QueryService/Search', async (route) => {
    const { query } = route.request().postDataJSON() as { query: string };
    if (query === 'bread') held.push(route);
    else await route.continue();
  });
  await box.fill('bread');
  while (held.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await box.fill('observatory');
  await results('observatory');
  const before = await options.allTextContents();
  // It was given up; to answer it all the same may fail.
  for (const route of held) void route.continue().catch(() => undefined);
  await page.waitForTimeout(500);
  await box.press('ArrowDown');
  assert.deepEqual(await options.allTextContents(), before);
  assert.deepEqual(await events(), [['results', 'observatory']]);
});

test('waits for a pause, and for enough characters', { skip }, async () => {
  await open({ debounce: '2000', 'min-length': '3' });
  await box.pressSequentially('st');
  await box.pressSequentially('ars');
  await results('stars');
  assert.deepEqual(
    sent.map(({ body }) => body['query']),
    ['stars'],
  );
  await box.fill('st');
  await page.getByRole('option').first().waitFor({ state: 'detached' });
  assert.equal(await page.getByRole('status').textContent(), '');
  assert.equal(sent.length, 1);
});

test(
  'attributes that can not be followed are reported by name, and nothing is searched',
  { skip },
  async () => {
    for (const [attributes, message] of [
      [{ limt: '3' }, /^limt: is no attribute that is known here; known are endpoint, collection/],
      [{ limit: '0' }, /^limit: is "0"; give a whole number from 1 to 50/],
      [{ debounce: '-1' }, /^debounce: is "-1"/],
      [{ endpoint: 'search.example' }, /^endpoint: is "search\.example"; give the address of the service/],
      [{ mode: 'fuzzy' }, /^mode: is "fuzzy"/],
      [{ mode: 'hybrid', tower: system.space }, /^mode: is hybrid, which needs the text/],
      [{ tower: 'x' }, /^tower: is "x"/],
      [{ collection: ' ' }, /^collection: is empty/],
    ] as const) {
      await open(attributes);
      const alert = page.getByRole('alert');
      await alert.waitFor();
      assert.match((await alert.textContent())!, message);
      await box.fill('stars');
      assert.equal(sent.length, 0);
    }
    // Mended, it searches what stands there.
    await page
      .locator('scalingnote-search')
      .evaluate((element) => element.setAttribute('collection', 'docs'));
    await results('stars');
    assert.equal(await page.getByRole('alert').count(), 0);
  },
);

test(
  'what the service refuses is shown in full and told, and the next search goes on',
  { skip },
  async () => {
    await open({ collection: 'nowhere' });
    await box.fill('stars');
    const alert = page.getByRole('alert');
    await alert.waitFor();
    const shown = (await alert.textContent())!;
    assert.match(shown, /nowhere/);
    assert.deepEqual(await events(), [['error', shown]]);
    assert.equal(await box.getAttribute('aria-invalid'), 'true');
  },
);

test(
  'several on a page know nothing of each other; one that is gone does nothing more',
  { skip },
  async () => {
    await page.evaluate(`const other = document.querySelector('scalingnote-search').cloneNode();
    other.setAttribute('label', 'Other');
    other.setAttribute('limit', '1');
    document.querySelector('main').append(other);`);
    const other = page.getByRole('combobox', { name: 'Other' });
    await other.fill('bread');
    await results('bread');
    assert.equal(await page.getByRole('option').count(), 1);
    assert.equal(await page.getByRole('combobox', { name: 'WordNet' }).inputValue(), '');
    await page.route('**/*QueryService/Search', () => undefined);
    const failed = page.waitForEvent('requestfailed');
    const asked = page.waitForRequest('**/*QueryService/Search');
    await other.fill('stars');
    await asked;
    await page.evaluate(
      `window.gone = document.querySelectorAll('scalingnote-search')[1]; window.gone.remove()`,
    );
    // Its call is given up.
    await failed;
    assert.deepEqual(await events(), [['results', 'bread']]);
    await page.unroute('**/*QueryService/Search');
    await page.evaluate(`document.querySelector('main').append(window.gone)`);
    await results('stars');
  },
);

test('with a tower, the text of a query does not leave the page', { skip }, async () => {
  await open({ tower: system.space });
  await box.fill('a person who studies stars');
  await results('a person who studies stars');
  assert.equal(await options.first().locator('[part=title]').textContent(), 'astronomer');
  assert.deepEqual(
    sent.map(({ method }) => method),
    ['SearchByVector'],
  );
  assert.ok(!JSON.stringify(sent).includes('studies'));
  await open({ tower: `sp1_${'0'.repeat(32)}` });
  sent = [];
  await box.fill('stars');
  const alert = page.getByRole('alert');
  await alert.waitFor();
  assert.match((await alert.textContent())!, /has the tower of space/);
  assert.equal(sent.length, 0);
});

test('axe finds nothing to mend: closed, open, with an active option, with an error', { skip }, async () => {
  const judge = async (what: string): Promise<void> => {
    await page.evaluate(axe);
    const violations = await page.evaluate(
      'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]))',
    );
    assert.deepEqual(violations, [], what);
  };
  await judge('closed');
  await box.fill('stars');
  await results('stars');
  await judge('open');
  await box.press('ArrowDown');
  await judge('an active option');
  await open({ limt: '3' });
  await page.getByRole('alert').waitFor();
  await judge('an error');
});
