import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceProcess, startService } from '../cli/service-processes.ts';
import { cli, folder, start, unavailable } from './system.ts';

/** Enough that an ingest is in the middle for a second or two. */
const DOCUMENTS = 300;

const file = join(folder, 'many.jsonl');
let service: ServiceProcess;

before(async () => {
  writeFileSync(file, lines(Array.from({ length: DOCUMENTS }, (_, index) => documentOf(index))));
  if (unavailable()) return;
  service = await startService('document', ['--data', join(folder, 'ingest'), '--port', '0']);
});
after(() => service?.stop());

function documentOf(index: number): object {
  const text = `document number ${index} about topic ${index % 97}`;
  return { id: String(index), title: `Number ${index}`, text, metadata: { index, tags: ['a', index] } };
}

function lines(records: readonly object[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

async function run(
  ...parameters: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return cli(...parameters, '--document-address', service.address);
}

async function json(...parameters: string[]): Promise<Record<string, number>> {
  const { code, stdout, stderr } = await run(...parameters, '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Record<string, number>;
}

async function drop(collection: string): Promise<void> {
  const { stdout } = await run('collections', '--json');
  const all = JSON.parse(stdout) as { name: string; physicalName: string }[];
  const { physicalName } = all.find(({ name }) => name === collection)!;
  assert.equal((await run('drop', physicalName, '--with-aliases')).code, 0);
}

/**
 * Starts an ingest, and kills it when it has kept how far it is: a draft that is not renamed yet, `NAME.json.PID`,
 * keeps nothing.
 */
async function brokenOff(...parameters: string[]): Promise<void> {
  const state = join(folder, 'state', 'scalingnote');
  const kept = (): string[] =>
    existsSync(state) ? readdirSync(state).filter((name) => /^ingest-\w+\.json$/.test(name)) : [];
  const before = kept().length;
  const ingest = start('ingest', file, ...parameters, '--document-address', service.address);
  while (kept().length === before) {
    assert.equal(ingest.exitCode, null, 'the ingest has ended');
    await sleep(5);
  }
  const exited = once(ingest, 'exit');
  ingest.kill('SIGKILL');
  await exited;
}

for (const parallel of ['1', '3']) {
  test(`broken off, dropped, made again with one line, resumed over ${parallel} streams: everything is there`, async (context) => {
    if (unavailable()) return context.skip(unavailable());
    const collection = `dropped-${parallel}`;
    await brokenOff('-c', collection, '--parallel', parallel);
    await drop(collection);
    const one = join(folder, 'one.jsonl');
    writeFileSync(one, lines([{ id: 'one', text: 'line' }]));
    assert.equal((await json('ingest', one, '-c', collection))['indexed'], 1);

    const resumed = await run('ingest', file, '-c', collection, '--parallel', parallel, '--resume', '--json');
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.match(resumed.stderr, /was dropped and made again, or restored, since; starting at the beginning/);
    assert.equal((await json('count', '-c', collection))['documents'], DOCUMENTS + 1);
  });
}

test('broken off and resumed over several streams: everything is there, and not all of it is sent again', async (context) => {
  if (unavailable()) return context.skip(unavailable());
  await brokenOff('-c', 'resumed', '--parallel', '3');
  const resumed = await run('ingest', file, '-c', 'resumed', '--parallel', '3', '--resume', '--json');
  assert.equal(resumed.code, 0, resumed.stderr);
  assert.match(resumed.stderr, /continuing after record \d+/);
  const { sent, identity, freshnessToken } = JSON.parse(resumed.stdout) as Record<string, unknown>;
  assert.ok(Number(sent) < DOCUMENTS);
  assert.ok(String(freshnessToken).startsWith(`${String(identity)}.`), String(freshnessToken));
  assert.equal((await json('count', '-c', 'resumed'))['documents'], DOCUMENTS);
});

test('--verify says what differs, sends it, and then finds no difference', async (context) => {
  if (unavailable()) return context.skip(unavailable());
  const source = join(folder, 'source.jsonl');
  const documents = Array.from({ length: 40 }, (_, index) => documentOf(index));
  writeFileSync(source, lines(documents));
  assert.equal((await json('ingest', source, '-c', 'verified'))['indexed'], 40);
  const equal = await run('ingest', source, '-c', 'verified', '--verify', '--dry-run');
  assert.equal(equal.code, 0, equal.stderr);
  assert.match(equal.stdout, /^no difference: 40 documents/);

  // One changed, one gone from the source, one new, one twice with the last word as it is stored.
  const changed = { id: '3', text: 'another text' };
  const again = [{ id: '5', text: 'first word' }, documents[5]!];
  writeFileSync(
    source,
    lines([
      ...documents.slice(0, 3),
      changed,
      documents[4]!,
      ...again,
      ...documents.slice(7),
      { id: 'new', text: 'new' },
    ]),
  );
  const told = await run('ingest', source, '-c', 'verified', '--verify', '--dry-run', '--json');
  assert.equal(told.code, 1);
  assert.match(told.stderr, /1 in the collection and not in the sources: "6"/);
  const { same, different, missing, extra, indexed } = JSON.parse(told.stdout) as Record<string, number>;
  assert.deepEqual(
    { same, different, missing, extra, indexed },
    { same: 38, different: 1, missing: 1, extra: 1, indexed: undefined },
  );
  assert.equal((await json('count', '-c', 'verified'))['documents'], 40);

  const sent = await json('ingest', source, '-c', 'verified', '--verify', '--delete-missing');
  assert.deepEqual([sent['indexed'], sent['deleted']], [2, 1]);
  assert.match(
    (await run('ingest', source, '-c', 'verified', '--verify')).stdout,
    /^no difference: 40 documents/,
  );
});

test('what is exported and loaded elsewhere does not differ', async (context) => {
  if (unavailable()) return context.skip(unavailable());
  assert.equal((await run('ingest', file, '-c', 'whole')).code, 0);
  for (const name of ['out.jsonl', 'out.parquet']) {
    const out = join(folder, name);
    const exported = await run('export', '-c', 'whole', '-o', out);
    assert.equal(exported.code, 0, exported.stderr);
    const collection = name.replace('.', '-');
    assert.equal((await json('ingest', out, '-c', collection))['indexed'], DOCUMENTS);
    assert.match((await run('ingest', file, '-c', collection, '--verify')).stdout, /^no difference/);
  }
});

test('rejected records are kept with their reasons, and can be loaded again', async (context) => {
  if (unavailable()) return context.skip(unavailable());
  const source = join(folder, 'rejected.jsonl');
  const rejects = join(folder, 'rejects.jsonl');
  writeFileSync(
    source,
    `${lines([
      { id: 'a', text: 'good' },
      { id: 'b', text: '' },
    ])}{"id":\n`,
  );
  const loaded = await run('ingest', source, '-c', 'rejected', '--rejects', rejects);
  assert.equal(loaded.code, 1);
  assert.match(loaded.stdout, /^1 indexed, 0 unchanged, 2 rejected/);
  const kept = readFileSync(rejects, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { raw?: string; record?: { id: string } });
  assert.deepEqual(kept.map(({ raw, record }) => raw ?? record?.id).sort(), ['b', '{"id":']);
  const repaired = readFileSync(rejects, 'utf8').replace('"text":""', '"text":"better"');
  writeFileSync(rejects, repaired);
  assert.match(
    (await run('ingest', rejects, '-c', 'rejected')).stdout,
    /^1 indexed, 0 unchanged, 1 rejected/,
  );
});
