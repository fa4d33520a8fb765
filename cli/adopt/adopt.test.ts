import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { everythingIn, fill, type Filling, type Row } from '../../store/qdrant/adopted/testing/filled.ts';
import { openStore } from '../../store/open.ts';
import { useEngine } from '../../store/qdrant/testing/engine.ts';
import { optionalTool } from '../../test/testing/optional-tool.ts';
import { onnxModel } from '../../towers/testing/onnx.ts';
import { idPort, temporaryFolder, VOCABULARY, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import type { AdoptReport } from './report.ts';

const tool = optionalTool('qdrant-engine');
const engine = useEngine(tool);
const { skip } = engine;

const WIDTH = 16;
const TOKENS = Object.keys(VOCABULARY).length;

/** A vector for each token. */
function tableOf(seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: TOKENS * WIDTH }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** A tower that means the vectors of its tokens. */
function towerFolder(context: TestContext, values: Float32Array, prompt = ''): string {
  const folder = temporaryFolder(context);
  const model = onnxModel({
    inputs: [idPort('input_ids'), idPort('attention_mask')],
    outputs: [{ name: 'last_hidden_state', type: 'float32', dims: ['batch', 'length', WIDTH] }],
    constants: [{ name: 'table', dims: [TOKENS, WIDTH], values }],
    operators: [{ op: 'Gather', inputs: ['table', 'input_ids'], outputs: ['last_hidden_state'] }],
  });
  const space = { dimensions: WIDTH, maxTokens: 64, normalize: true, documentPrompt: prompt };
  writeTinyTower(folder, { model, space, name: `tiny-${prompt === '' ? 'plain' : 'prompted'}` });
  return folder;
}

/** What a program stores that means the vectors of `[CLS]`, the letters and `[SEP]`. */
function rowsOf(table: Float32Array, before: readonly string[] = []): Row[] {
  return Array.from({ length: 60 }, (_, row): Row => {
    const letters = Array.from({ length: 16 + (row % 20) }, (_, at) =>
      String.fromCodePoint(97 + ((row * 7 + at * (row + 3)) % 26)),
    );
    const vector = new Float32Array(WIDTH);
    for (const token of ['[CLS]', ...before, ...letters, '[SEP]']) {
      for (let at = 0; at < WIDTH; at++) vector[at]! += table[VOCABULARY[token]! * WIDTH + at]!;
    }
    const norm = Math.hypot(...vector);
    return {
      document: `doc-${row}`,
      title: '',
      text: letters.join(' '),
      vector: [...vector].map((component) => component / norm),
      metadata: { row },
    };
  });
}

async function run(...parameters: string[]) {
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const child = spawn(process.execPath, [main, 'adopt', ...parameters], {
    env: { ...process.env, QDRANT_URL: engine.url },
  });
  const printed = [text(child.stdout), text(child.stderr), once(child, 'exit')] as const;
  const [stdout, stderr, [code]] = await Promise.all(printed);
  return { code: code as number, stdout, stderr };
}

function fillWith(collection: string, rows: readonly Row[], filling: Filling): Promise<void> {
  return fill(tool.path!, engine.url, collection, rows, filling);
}

describe('scalingnote adopt', { skip }, () => {
  it('takes a collection over whose vectors the tower makes, and gives it back', async (t) => {
    const table = tableOf(1);
    await fillWith('theirs', rowsOf(table), { shape: 'langchain' });
    const before = await everythingIn(engine.url, 'theirs');
    const tower = towerFolder(t, table);
    const dry = await run('theirs', '--document-tower', tower, '--dry-run', '--json');
    assert.equal(dry.code, 0, dry.stderr);
    assert.deepEqual((JSON.parse(dry.stdout) as AdoptReport).written, []);
    const store = await openStore({ kind: 'qdrant', url: engine.url });
    t.after(() => store.close());
    assert.deepEqual(await store.listCollections(), []);

    const done = await run('theirs', '--document-tower', tower, '--as', 'ours', '--json');
    assert.equal(done.code, 0, done.stderr);
    const report = JSON.parse(done.stdout) as AdoptReport;
    assert.deepEqual([report.verdict, report.writer, report.name], ['same', 'LangChain', 'ours']);
    assert.ok(report.own.cosines.median > 0.9999 && report.own.cosines.texts === 60);
    const { space } = await store.findCollection('ours');
    assert.deepEqual(space, { fingerprint: report.space, dimensions: WIDTH });
    assert.deepEqual(await everythingIn(engine.url, 'theirs'), before);

    const back = await run('ours', '--release');
    assert.equal(back.code, 0, back.stderr);
    assert.deepEqual(await store.listCollections(), []);
  });

  it('refuses other vectors, prints how far away they are, and names the nearest tower', async (t) => {
    const table = tableOf(2);
    await fillWith('others', rowsOf(table), { shape: 'haystack', distance: 'Dot' });
    const candidates = [towerFolder(t, tableOf(3)), towerFolder(t, table)];
    const coarse = towerFolder(
      t,
      table.map((value, at) => value + 0.3 * tableOf(4)[at]!),
    );
    const { code, stdout, stderr } = await run(
      'others',
      '--document-tower',
      coarse,
      '--candidates',
      candidates.join(','),
    );
    assert.equal(code, 1);
    assert.match(stdout, /cosine: median 0\.9\d+, 5th percentile/);
    assert.match(stdout, /0\.900…0\.950 +\d+/);
    assert.match(stderr, /are not those of tiny-plain: .*they are those of tiny-plain .*another version/);
    assert.ok(stderr.includes(`adopt with --document-tower ${candidates[1]}`), stderr);
    const far = await run('others', '--document-tower', candidates[0]!, '--candidates', coarse, '--json');
    assert.equal(far.code, 1);
    const report = JSON.parse(far.stdout) as AdoptReport;
    assert.deepEqual([report.verdict, report.nearest?.tower, report.written], ['other', coarse, []]);
  });

  it('says how to import the tower, where another prompt explains the vectors', async (t) => {
    const table = tableOf(5);
    const prompt = ['query', ':'];
    await fillWith('prompted', rowsOf(table, prompt), { shape: 'script', distance: 'Euclid' });
    const plain = await run('prompted', '--document-tower', towerFolder(t, table));
    assert.equal(plain.code, 1);
    assert.match(
      plain.stderr,
      /with other settings: mean pooling, prompt "query: ".*--document-prompt "query: "/,
    );
    const right = await run('prompted', '--document-tower', towerFolder(t, table, 'query: '));
    assert.equal(right.code, 0, right.stderr);
    assert.match(right.stdout, /read only, dense only/);
  });

  it('refuses a distance that ranks otherwise, what is no dense vector, and the other store', async (t) => {
    const table = tableOf(6);
    const tower = towerFolder(t, table);
    await fillWith('manhattan', rowsOf(table), { shape: 'script', distance: 'Manhattan' });
    const refused = await run('manhattan', '--document-tower', tower);
    assert.equal(refused.code, 1);
    assert.match(
      refused.stderr,
      /its distance, Manhattan, ranks otherwise than the cosine.*--without-search/,
    );
    const taken = await run('manhattan', '--document-tower', tower, '--without-search', '--json');
    assert.equal(taken.code, 0, taken.stderr);
    assert.equal((JSON.parse(taken.stdout) as AdoptReport).search, false);
    const several = {
      late: { size: WIDTH, distance: 'Cosine', multivector_config: { comparator: 'max_sim' } },
    };
    await fillWith('late', rowsOf(table), { shape: 'script', vector: 'v', more: several });
    const late = await run('late', '--document-tower', tower, '--vector', 'late');
    assert.match(late.stderr, /"late" of collection "late" are multivectors/);
    assert.equal((await run('late', '--document-tower', tower, '--dry-run')).code, 0);
    const embedded = await run('late', '--document-tower', tower, '--store', 'embedded');
    assert.deepEqual([embedded.code, /only Qdrant/.test(embedded.stderr)], [2, true]);
    assert.match((await run('nowhere', '--document-tower', tower)).stderr, /no collection "nowhere"/);
  });

  it('refuses, before it measures, what has nothing to compare, and names that clients can’t use', async (t) => {
    const table = tableOf(7);
    const tower = towerFolder(t, table);
    const rows = rowsOf(table);
    const more = { none: { size: WIDTH, distance: 'Cosine' } };
    await fillWith('some', rows, { shape: 'script', vector: 'v', more });
    const empty = await run('some', '--document-tower', tower, '--vector', 'none');
    assert.equal(empty.code, 1);
    assert.match(empty.stderr, /"some" has no point with a vector "none"/);
    assert.doesNotMatch(empty.stderr, /--text-field/);
    await fillWith('their docs', rows, { shape: 'script' });
    for (const flags of [[], ['--as', 'a b'], ['--as', 'a--b']]) {
      const refused = await run('their docs', '--document-tower', tower, ...flags, '--dry-run');
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /1 to 64 of a-z/);
      assert.doesNotMatch(refused.stderr, /comparing/);
    }
    const dry = await run('their docs', '--document-tower', tower, '--as', 'docs', '--dry-run');
    assert.match(dry.stdout, /nothing was written \(--dry-run\)/);
  });
});
