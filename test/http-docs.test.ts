import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Harness, startHarness } from '../services/document/testing/harness.ts';
import { type QueryHarness, startQuery } from '../services/query/testing/harness.ts';

/** The lines of curl in the documentation, run as they are written. */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PAGES = ['docs/http.md', 'README.md'];

/** Where the pages say that the services are. */
const WRITTEN = { document: ['127.0.0.1:7401'], query: ['127.0.0.1:7402', 'localhost:7402'] };

/** Commands of the blocks of shell on a page, a line that ends in a backslash joined with the next. */
function commandsOf(page: string): string[] {
  const text = readFileSync(join(ROOT, page), 'utf8');
  return [...text.matchAll(/^```(?:bash|sh)\n(.*?)^```/gms)].flatMap(([, block]) =>
    block!
      .replaceAll('\\\n', '')
      .split('\n')
      .filter((line) => line.startsWith('curl ')),
  );
}

const commands = PAGES.flatMap((page) => commandsOf(page).map((command) => ({ page, command })));
const skip = spawnSync('curl', ['--version']).status === 0 ? false : 'there is no curl';
const home = mkdtempSync(join(tmpdir(), 'scalingnote-curl-'));
let query: QueryHarness;
let documents: Harness;

before(async () => {
  query = await startQuery();
  await query.store.fill('docs', ['stars', 'a person who studies stars'], { pos: 'noun' });
  documents = await startHarness();
  await documents.ingest().document(1, 'a', 'stars').finish();
  // curl connects to the services of this test, and ends with 22 where an answer is an error.
  const led = ([from, to]: readonly [string, string]): string => `connect-to = "${from}:${to}"\n`;
  const leads = [
    ...WRITTEN.document.map((written) => [written, documents.server.address] as const),
    ...WRITTEN.query.map((written) => [written, query.server.address] as const),
  ];
  writeFileSync(join(home, '.curlrc'), `${leads.map(led).join('')}fail-with-body\nsilent\nnoproxy = "*"\n`);
});

after(async () => {
  await query.stop();
  await documents.stop();
  rmSync(home, { recursive: true });
});

async function run(command: string): Promise<{ code: number; output: string }> {
  const child = spawn('bash', ['-c', command], {
    env: { ...process.env, CURL_HOME: home },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const [code] = (await once(child, 'close')) as [number];
  return { code, output };
}

test('the pages have lines of curl, all to addresses that the test leads elsewhere', () => {
  assert.ok(commands.length >= 8, `${commands.length} lines`);
  for (const { command } of commands) {
    const addresses = command.match(/(?:127\.0\.0\.1|localhost)[:\d]*/g) ?? [];
    const known = [...WRITTEN.document, ...WRITTEN.query];
    assert.ok(addresses.length === 1 && known.includes(addresses[0]), command);
  }
});

/** What an answer has, by the address that was asked. */
const ANSWERS: Readonly<Record<string, string>> = {
  '/v1/search': 'hits',
  '/v1/encode': 'embeddings',
  '/v1/describe': 'service',
  '/v1/collections': 'collections',
  '/openapi.json': 'paths',
  '/v1/search-stream': 'result',
};

for (const { page, command } of commands) {
  test(`${page}: ${command}`, { skip }, async () => {
    const { code, output } = await run(command);
    assert.equal(code, 0, output);
    const [, path = ''] = /(?:127\.0\.0\.1|localhost):\d+([^\s'"?]*)/.exec(command) ?? [];
    const data = /^data: (.*)$/m.exec(output)?.[1];
    const answer = JSON.parse(data ?? output) as Record<string, unknown>;
    assert.ok(answer[ANSWERS[path] ?? assert.fail(`what does ${path} answer with?`)], output);
  });
}
