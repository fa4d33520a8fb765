import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

/**
 * The system as people use it: the command line, both services as processes, the real towers and the real store. The
 * document tower comes from the npm registry, or from the cache where it has been fetched before.
 */

const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'scalingnote-e2e-'));
const environment = { ...process.env, XDG_STATE_HOME: join(folder, 'state'), NO_COLOR: '1' };

interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

interface Pair {
  process: ChildProcess;
  addresses: { document: string; query: string };
  documents: { sent: number; indexed: number; unchanged: number; rejected: number };
}

let unavailable: string | false = false;
const running = new Set<ChildProcess>();

before(async () => {
  const pulled = await cli('towers', 'pull', 'all-MiniLM-L6-v2');
  if (pulled.code !== 0) unavailable = `the document tower can't be had here: ${pulled.stderr}`;
});

after(async () => {
  await Promise.all([...running].map(stop));
  rmSync(folder, { recursive: true, force: true });
});

describe('the command line, without services', () => {
  test('wrong usage exits with 2, and names what is wrong', async () => {
    assert.equal((await cli('serch', 'x')).code, 2);
    assert.equal((await cli('search')).code, 2);
    const wrong = await cli('search', 'x', '--limit', 'many');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--limit/);
  });

  test('a service that is away is one line and exit 1', async () => {
    const away = await cli('search', 'x', '--query-address', '127.0.0.1:9');
    assert.equal(away.code, 1);
    assert.equal(away.stderr.trim().split('\n').length, 1);
    assert.match(away.stderr, /scalingnote up/);
    assert.equal(away.stdout, '');
  });

  test('a file that is not there is one line and exit 1', async () => {
    const missing = await cli('ingest', join(folder, 'nowhere.jsonl'), '-c', 'x');
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /nowhere\.jsonl/);
  });
});

describe('the pair', () => {
  test('up --once --json prints one document and leaves nothing running', async (context) => {
    if (unavailable) return context.skip(unavailable);
    const result = await cli(...upFlags('once', 60), '--once', '--json');
    assert.equal(result.code, 0, result.stderr);
    const report = JSON.parse(result.stdout) as Record<string, never> & {
      space: string;
      documents: unknown;
      searches: { query: string; hits: { id: string; title: string; score: number }[] }[];
    };
    assert.match(report.space, /^sp1_[0-9a-f]{32}$/);
    assert.deepEqual(report.documents, { sent: 60, indexed: 60, unchanged: 0, rejected: 0 });
    for (const { hits } of report.searches) assert.equal(hits.length, 10);
    const again = await cli(...upFlags('once', 60), '--once', '--json');
    assert.deepEqual((JSON.parse(again.stdout) as { documents: unknown }).documents, {
      sent: 0,
      indexed: 0,
      unchanged: 60,
      rejected: 0,
    });
  });

  test('documents go in through one service, and answers come out of the other', async (context) => {
    if (unavailable) return context.skip(unavailable);
    const pair = await up('serve');
    const status = await cli('status', '--json', ...addresses(pair));
    assert.equal(status.code, 0, status.stderr);
    const { services } = JSON.parse(status.stdout) as {
      services: { status: string; pid: number; space: string; address: string }[];
    };
    assert.deepEqual(
      services.map((each) => each.status),
      ['SERVING', 'SERVING'],
    );
    assert.equal(new Set(services.map((each) => each.space)).size, 1);

    const file = join(folder, 'animals.jsonl');
    writeFileSync(
      file,
      [
        '{"id":"bee","title":"Bees","text":"Bees are insects that live in hives and make honey.","metadata":{"legs":6}}',
        '{"id":"cow","title":"Cows","text":"Cows are cattle that give milk on farms.","metadata":{"legs":4}}',
        '{"id":"broken",',
        '{"id":"eel","title":"Eels","text":"Eels are long fish that swim up rivers.","metadata":{"legs":0}}',
        '{"id":"nothing","title":"","text":""}',
      ].join('\n'),
    );
    const ingested = await cli('ingest', file, '-c', 'animals', '--json', ...addresses(pair, 'document'));
    assert.equal(ingested.code, 1, 'rejected documents are a failure, told in one line');
    assert.match(ingested.stderr, /line 3/);
    assert.match(ingested.stderr, /2 of 5 documents were rejected/);
    const { indexed, rejected } = JSON.parse(ingested.stdout) as { indexed: number; rejected: number };
    assert.deepEqual([indexed, rejected], [3, 2]);

    const find = async (...flags: string[]): Promise<string[]> => {
      const found = await cli('search', ...flags, '-c', 'animals', '--json', ...addresses(pair, 'query'));
      assert.equal(found.code, 0, found.stderr);
      return (JSON.parse(found.stdout) as { hits: { id: string }[] }).hits.map(({ id }) => id);
    };
    assert.equal((await find('honey from insects'))[0], 'bee');
    assert.equal((await find('a fish in the river'))[0], 'eel');
    assert.deepEqual((await find('animal', '--filter', 'metadata.legs>0')).sort(), ['bee', 'cow']);
    assert.deepEqual(await find('milk', '--mode', 'sparse'), ['cow']);
    assert.equal((await find('milk from cattle', '--mode', 'hybrid'))[0], 'cow');

    const unknown = await cli('search', 'x', '-c', 'nowhere', ...addresses(pair, 'query'));
    assert.equal(unknown.code, 1);
    assert.match(unknown.stderr, /no collection "nowhere"/);
    assert.equal(
      (await cli('delete', 'bee', '-c', 'animals', ...addresses(pair, 'document'))).stdout,
      '1 deleted\n',
    );
    assert.ok(!(await find('honey from insects')).includes('bee'));

    const admin = (...parameters: string[]) => cli(...parameters, ...addresses(pair, 'document'));
    const { animals } = JSON.parse((await admin('alias', 'list', '--json')).stdout) as { animals: string };
    assert.equal((await admin('alias', 'set', 'beasts', animals)).code, 0);
    const inUse = await admin('drop', animals);
    assert.equal(inUse.code, 1);
    assert.match(inUse.stderr, /"animals", "beasts" leads to; switch the alias first, or set with_aliases/);
    assert.equal((await admin('drop', 'beasts')).code, 1, 'an alias is not what is dropped');
    const dropped = await admin('drop', animals, '--with-aliases', '--json');
    assert.deepEqual(JSON.parse(dropped.stdout), { physicalName: animals, aliases: ['animals', 'beasts'] });
    const { stdout: left } = await admin('collections', '--json');
    assert.deepEqual(
      (JSON.parse(left) as { name: string }[]).map(({ name }) => name),
      ['wordnet'],
    );

    await stop(pair.process);
    for (const { pid } of services) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  });

  test('eval --services measures what comes out of the Search RPC', async (context) => {
    if (unavailable) return context.skip(unavailable);
    const dataset = join(folder, 'farm');
    mkdirSync(dataset);
    const files = {
      'corpus.jsonl': [
        { _id: 'bee', title: 'Bees', text: 'Bees live in hives and make honey.' },
        { _id: 'cow', title: 'Cows', text: 'Cows give milk on farms.' },
        { _id: 'nothing', title: '', text: '' },
      ],
      'queries.jsonl': [
        { _id: '1', text: 'where honey comes from' },
        { _id: '2', text: 'animals that are milked' },
      ],
    };
    for (const [name, records] of Object.entries(files)) {
      writeFileSync(join(dataset, name), records.map((record) => JSON.stringify(record)).join('\n'));
    }
    writeFileSync(join(dataset, 'qrels.tsv'), '1\tbee\t1\n2\tcow\t1\n');
    const pair = await up('serve');
    const towers = ['--query-tower', 'all-MiniLM-L6-v2-lookup'];
    const measure = async (...flags: string[]): Promise<unknown[]> => {
      const result = await cli('eval', '--dataset', dataset, ...flags, '--services', '--json');
      assert.equal(result.code, 0, result.stderr);
      const { results } = JSON.parse(result.stdout) as { results: { queryTower: string; ndcg10: number }[] };
      return results.map(({ queryTower, ndcg10 }) => [queryTower, ndcg10]);
    };
    const served = ['all-MiniLM-L6-v2-lookup, through the services', 1];
    assert.deepEqual((await measure(...addresses(pair))).at(-1), served);
    const listed = await cli('collections', '--json', ...addresses(pair, 'document'));
    const collection = (JSON.parse(listed.stdout) as { name: string; documents: number }[]).find(({ name }) =>
      name.startsWith('eval-farm-'),
    );
    assert.equal(collection?.documents, 2);
    await stop(pair.process);
    assert.deepEqual(await measure(...towers), [
      ['all-MiniLM-L6-v2', 1],
      ['all-MiniLM-L6-v2-lookup', 1],
      served,
    ]);
  });

  test('a document service that is killed in the middle of an ingest loses and doubles nothing', async (context) => {
    if (unavailable) return context.skip(unavailable);
    const count = 1500;
    const file = join(folder, 'many.jsonl');
    const lines = Array.from(
      { length: count },
      (_, index) => `{"id":"${index}","text":"document number ${index} about topic ${index % 97}"}`,
    );
    writeFileSync(file, lines.join('\n'));
    let pair = await up('killed');
    const status = await cli('status', '--json', ...addresses(pair));
    const { services } = JSON.parse(status.stdout) as { services: { pid: number }[] };
    const ingest = start('ingest', file, '-c', 'many', ...addresses(pair, 'document'));
    await until(async () => (await countOf('many', pair)) > 100);
    process.kill(services[0]!.pid, 'SIGKILL');
    const [code] = (await once(pair.process, 'exit')) as [number];
    assert.equal(code, 1, 'up says that a service died');
    ingest.kill('SIGKILL');

    pair = await up('killed');
    const resumed = await cli(
      'ingest',
      file,
      '-c',
      'many',
      '--resume',
      '--json',
      ...addresses(pair, 'document'),
    );
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.equal(await countOf('many', pair), count);
    const again = await cli('ingest', file, '-c', 'many', '--json', ...addresses(pair, 'document'));
    assert.equal((JSON.parse(again.stdout) as { unchanged: number }).unchanged, count);
    await stop(pair.process);
  });
});

function upFlags(name: string, documents: number): string[] {
  const data = join(folder, name);
  return [
    'up',
    '--data',
    data,
    '--document-port',
    '0',
    '--query-port',
    '0',
    '--console-port',
    '0',
    '--documents',
    String(documents),
  ];
}

/** Starts the pair and waits until it has shown its searches. */
async function up(name: string): Promise<Pair> {
  const child = start(...upFlags(name, 20), '--json');
  let stdout = '';
  let stderr = '';
  child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  for await (const chunk of child.stdout!) {
    stdout += String(chunk);
    if (!stdout.endsWith('\n}\n')) continue;
    return { process: child, ...(JSON.parse(stdout) as Omit<Pair, 'process'>) };
  }
  throw new Error(`up ended early: ${stderr}`);
}

function addresses(pair: Pair, ...which: ('document' | 'query')[]): string[] {
  const services = which.length === 0 ? (['document', 'query'] as const) : which;
  return services.flatMap((service) => [`--${service}-address`, pair.addresses[service]]);
}

async function countOf(collection: string, pair: Pair): Promise<number> {
  const counted = await cli('count', '-c', collection, '--json', ...addresses(pair, 'document'));
  return counted.code === 0 ? (JSON.parse(counted.stdout) as { documents: number }).documents : 0;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition()));
}

function start(...parameters: string[]): ChildProcess {
  const child = spawn(process.execPath, [CLI, ...parameters], {
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

async function cli(...parameters: string[]): Promise<Result> {
  const child = start(...parameters);
  const result: Result = { code: null, stdout: '', stderr: '' };
  child.stdout!.on('data', (chunk: Buffer) => (result.stdout += chunk.toString()));
  child.stderr!.on('data', (chunk: Buffer) => (result.stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { ...result, code };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
