import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { DocumentClient } from '../clients/index.ts';
import { commonFirst } from '../cli/sample/order.ts';
import { readWordNet, SAMPLE_COLLECTION } from '../cli/sample/wordnet.ts';
import { launch } from './browser.ts';
import { freePort } from '../cli/service-processes.ts';
import { startService, stopServices } from '../services/runtime/testing/processes.ts';
import { findTool } from './testing/optional-tool.ts';

/**
 * Makes the pictures of the README from a system that runs: the towers that ship and their teacher, and a part of the
 * sample. `npm run screenshots`, after a build; the document tower is fetched where it is not in the cache.
 */

/** Enough for hits that make sense, in a minute or two. */
const DOCUMENTS = 3000;

const QUERY = 'a person who studies stars';
const DOCS = fileURLToPath(new URL('../../docs/', import.meta.url));
const WIDE = { viewport: { width: 1100, height: 720 } };
const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 1.5, colorScheme: 'dark' } as const;

const chromium = findTool('chromium');
if (chromium.path === undefined) {
  process.stderr.write(`${chromium.skip}\n`);
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-screenshots-'));
let browser: Browser | undefined;
try {
  const base = await startSystem();
  browser = await launch(chromium.path);
  await wide(browser, base);
  await phone(browser, base);
} finally {
  await browser?.close();
  await stopServices();
  rmSync(folder, { recursive: true, force: true });
}

async function startSystem(): Promise<string> {
  const port = String(await freePort());
  const console = `127.0.0.1:${port}`;
  const common = [
    '--port',
    '0',
    '--metrics-port',
    '0',
    '--data',
    join(folder, 'data'),
    '--console-address',
    console,
  ];
  const documents = await startService('document', ...common);
  const client = new DocumentClient({ address: documents.address });
  const sample = (await commonFirst(await readWordNet())).slice(0, DOCUMENTS);
  await client.ingest(sample, { collection: SAMPLE_COLLECTION });
  client.close();
  const [student, teacher] = await Promise.all([
    startService('query', ...common),
    startService('query', ...common, '--query-tower', 'all-MiniLM-L6-v2'),
  ]);
  const services = ['--document-address', documents.address, '--query-address', student.address];
  const metrics = ['--document-metrics', documents.metrics, '--query-metrics', student.metrics];
  await startService(
    'console',
    '--port',
    port,
    ...services,
    ...metrics,
    '--compare-addresses',
    teacher.address,
  );
  return `http://${console}`;
}

async function open(from: Browser, base: string, options: BrowserContextOptions): Promise<Page> {
  const page = await from.newPage(options);
  await page.goto(base);
  await page.getByRole('status').getByText('serving').waitFor();
  // The first search of a process is slower than any after it.
  await page.getByRole('searchbox').fill('a long time without any rain');
  await page.locator('.hit').first().waitFor();
  await page.getByRole('searchbox').fill('');
  await page.getByRole('searchbox').pressSequentially(QUERY, { delay: 80 });
  await page.locator('.hit').first().waitFor();
  return page;
}

async function wide(from: Browser, base: string): Promise<void> {
  const page = await open(from, base, WIDE);
  await settled(page);
  await shoot(page, 'console-search');
  const link = page.getByRole('link', { name: 'Trace of this search' });
  const trace = await link.getAttribute('href');

  await page.getByRole('checkbox', { name: 'compare towers' }).check();
  await page.locator('.column .hit').nth(19).waitFor();
  await settled(page);
  await shoot(page, 'console-compare');

  await page.goto(`${base}/${trace}`);
  await page.locator('.row').getByText('encode').click();
  await page.getByRole('heading', { name: 'Attributes' }).waitFor();
  await settled(page);
  await shoot(page, 'console-trace');

  await page.getByRole('tab', { name: 'ingest' }).click();
  const file = join(folder, 'places.jsonl');
  const lines = Array.from({ length: 400 }, (_, index) =>
    index % 90 === 40
      ? '{"id": "broken",'
      : JSON.stringify({ id: `p${index}`, text: `A note on place ${index}.` }),
  );
  writeFileSync(file, lines.join('\n'));
  await page.locator('input[type=file]').setInputFiles(file);
  await page.getByText('searchable', { exact: true }).waitFor({ timeout: 120_000 });
  await page.getByText('rejected (').click();
  await page.mouse.move(0, 0);
  await settled(page);
  await shoot(page, 'console-ingest');
  await page.close();
}

async function phone(from: Browser, base: string): Promise<void> {
  const page = await open(from, base, PHONE);
  await settled(page);
  await shoot(page, 'console-phone');
  await page.close();
}

/** Numbers come in for a moment after what they are about. */
async function settled(page: Page): Promise<void> {
  await page.waitForTimeout(1500);
}

async function shoot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: join(DOCS, `${name}.png`) });
  process.stdout.write(`docs/${name}.png\n`);
}
