import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ReflectionClient } from '../services/runtime/testing/reflection-client.ts';
import { addresses, cli, folder, stop, unavailable, up, upFlags } from './system.ts';

describe('the command line, without services', () => {
  test('wrong usage exits with 2, and names what is wrong', async () => {
    assert.equal((await cli('serch', 'x')).code, 2);
    assert.equal((await cli('search')).code, 2);
    const wrong = await cli('search', 'x', '--limit', 'many');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--limit/);
    assert.equal((await cli('eval')).code, 2);
    const port = await cli('up', '--document-port', '70000');
    assert.equal(port.code, 2);
    assert.match(port.stderr, /--document-port.*65535/);
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
    if (unavailable()) return context.skip(unavailable());
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
    if (unavailable()) return context.skip(unavailable());
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
    assert.match(inUse.stderr, /"animals", "beasts" leads to; switch the alias first, or set --with-aliases/);
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

  test('a tool that knows gRPC, and nothing of us, finds its way', async (context) => {
    if (unavailable()) return context.skip(unavailable());
    const pair = await up('serve');
    for (const [name, address] of [
      ['DocumentService', pair.addresses.document],
      ['QueryService', pair.addresses.query],
    ] as const) {
      const tool = new ReflectionClient(address);
      const services = await tool.services();
      assert.deepEqual(services, ['grpc.health.v1.Health', `scalingnote.v1.${name}`]);
      const { status } = await tool.call<{ status: string }>('grpc.health.v1.Health', 'Check', {});
      assert.equal(status, 'SERVING');
      const { service } = await tool.call<{ service: { pid: number } }>(services[1]!, 'Describe', {});
      assert.ok(service.pid > 0);
      tool.close();
    }
    const tool = new ReflectionClient(pair.addresses.query);
    const { hits } = await tool.call<{ hits: { document_id: string; metadata: object }[] }>(
      'scalingnote.v1.QueryService',
      'Search',
      { collection: 'wordnet', query: 'a human being', limit: 3, mode: 'SEARCH_MODE_HYBRID' },
    );
    tool.close();
    assert.equal(hits.length, 3);
    assert.ok(hits.every(({ document_id: id }) => id.startsWith('wn31-')));
    await stop(pair.process);
  });

  test('eval --services measures what comes out of the Search RPC', async (context) => {
    if (unavailable()) return context.skip(unavailable());
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
    const measure = async (...flags: string[]): Promise<Record<string, number>> => {
      const result = await cli('eval', '--dataset', dataset, ...flags, '--services', '--json');
      assert.equal(result.code, 0, result.stderr);
      const { results } = JSON.parse(result.stdout) as { results: { queryTower: string; ndcg10: number }[] };
      return Object.fromEntries(results.map(({ queryTower, ndcg10 }) => [queryTower, ndcg10]));
    };
    const served = 'all-MiniLM-L6-v2-lookup, through the services';
    assert.equal((await measure(...addresses(pair)))[served], 1);
    const listed = await cli('collections', '--json', ...addresses(pair, 'document'));
    const collection = (JSON.parse(listed.stdout) as { name: string; documents: number }[]).find(({ name }) =>
      name.startsWith('eval-farm-'),
    );
    assert.equal(collection?.documents, 2);
    await stop(pair.process);
    const measured = await measure(...towers);
    for (const name of ['all-MiniLM-L6-v2', 'all-MiniLM-L6-v2-lookup', served]) {
      assert.equal(measured[name], 1, name);
    }
  });
});
