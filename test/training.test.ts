import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { letterPairs, linesFile, tinyBase } from '../training/testing/tiny-base.ts';
import type { TrainReport } from '../training/stage1/train.ts';
import { cli, ended, folder, start, upFlags } from './system.ts';

/** Flags of a run on a tower with random weights: a second of training. */
function trainFlags(context: Parameters<typeof linesFile>[0], out: string): string[] {
  const files = ['--base', tinyBase(context), '--pairs', linesFile(context, letterPairs(600))];
  return ['train', ...files, '--out', join(folder, out), '--batch', '32', '--rate', '0.01', '--threads', '1'];
}

describe('training from the command line', () => {
  test('towers are trained, and serve: up ingests and searches with them', async (context) => {
    const trained = await cli(...trainFlags(context, 'towers'), '--steps', '20', '--workers', '2', '--json');
    assert.equal(trained.code, 0, trained.stderr);
    const { out, pairs, steps, seconds, heldOut, towers } = JSON.parse(trained.stdout) as TrainReport;
    assert.deepEqual([out, pairs, steps], [join(folder, 'towers'), 570, 20]);
    assert.ok(seconds > 0 && heldOut.recall10.trained >= 0 && heldOut.recall10.interval.length === 2);
    const flags = ['--document-tower', `file:${towers.document}`, '--query-tower', `file:${towers.query}`];
    const served = await cli(...upFlags('trained', 20), ...flags, '--once', '--json');
    assert.equal(served.code, 0, served.stderr);
    const report = JSON.parse(served.stdout) as {
      space: string;
      documents: { indexed: number };
      searches: { hits: unknown[] }[];
    };
    assert.equal(report.space, towers.space);
    assert.equal(report.documents.indexed, 20);
    assert.ok(report.searches.every(({ hits }) => hits.length === 10));
  });

  test('an interrupt leaves a checkpoint, one line that says how to go on, and nothing else', async (context) => {
    const flags = [...trainFlags(context, 'broken'), '--steps', '4000'];
    const child = start(...flags);
    const end = ended(child);
    child.stderr!.on('data', (chunk: Buffer) => {
      // As a supervisor does that signals the process, and then its group.
      if (chunk.includes('steps')) for (const signal of ['SIGINT', 'SIGTERM'] as const) child.kill(signal);
    });
    const { code, stdout, stderr } = await end;
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /scalingnote: interrupted; the same command with --resume goes on\n$/);
    assert.ok(existsSync(join(folder, 'broken', 'checkpoint.safetensors')));
    const again = await cli(...flags);
    assert.equal(again.code, 1);
    assert.match(
      again.stderr,
      /^scalingnote: .*was broken off: go on with --resume, or give another --out\n$/,
    );
  });

  test('what can not be is one line each', async (context) => {
    const fails = async (parameters: string[], message: RegExp, code = 1): Promise<void> => {
      const result = await cli(...parameters);
      assert.equal(result.code, code, result.stderr);
      assert.match(result.stderr, message);
      if (code === 1) assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
    };
    const flags = trainFlags(context, 'nothing');
    await fails(['train', '--out', 'x'], /--pairs/, 2);
    const one = linesFile(context, [{ query: 'a', document: 'b' }]);
    await fails([...flags, '--pairs', one], /--pairs is given twice/, 2);
    await fails(flags.with(flags.indexOf('--pairs') + 1, one), /leaves too few pairs/);
    const recipe = join(folder, 'recipe.yaml');
    writeFileSync(recipe, 'pairs: p\nout: o\nstage2: {layers: 2}\nstage3: {}\n');
    await fails(['pipeline', recipe], /recipe\.yaml: Unrecognized key: "stage3"/);
    await fails(['towers', 'import', folder, '--out', join(folder, 'x')], /no model found/);
    assert.ok(!existsSync(join(folder, 'nothing')));
  });
});
