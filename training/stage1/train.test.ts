import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { readManifest } from '../../towers/directory.ts';
import { openTower } from '../../towers/open.ts';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { TINY, tinyBert } from '../testing/tiny-models.ts';
import { TrainingError } from '../errors.ts';
import { letterPairs, linesFile, tinyBase } from '../testing/tiny-base.ts';
import type { TrainRequest } from './request.ts';
import { train, type TrainReport } from './train.ts';

/** A run of a second or two. */
function requestFor(context: TestContext, changes: Partial<TrainRequest> = {}): TrainRequest {
  const folder = temporaryFolder(context);
  return {
    base: tinyBase(context),
    pairs: linesFile(context, letterPairs(900)),
    out: join(folder, 'towers'),
    steps: 12,
    batch: 32,
    rate: 0.01,
    threads: 1,
    cacheDir: folder,
    ...changes,
  };
}

const weightsOf = ({ towers }: TrainReport): Buffer => readFileSync(join(towers.document, 'model.onnx'));

const refuses = (promise: Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof TrainingError, String(error));
    assert.match(error.message, message);
    return true;
  });

/** Breaks a run off after a step. */
async function interruptAfter(step: number, request: TrainRequest): Promise<void> {
  const controller = new AbortController();
  const reason = new Error('enough');
  const run = train({
    ...request,
    signal: controller.signal,
    onProgress: ({ phase, done }) => {
      if (phase === 'training' && done === step) controller.abort(reason);
    },
  });
  await assert.rejects(run, reason);
}

test('training finds more of what is held out, and makes a space of its own', async (context) => {
  const request = requestFor(context, { steps: 150, batch: 64, trainTables: true, heldOutDocuments: 400 });
  const report = await train(request);
  const { base, trained, interval } = report.heldOut.recall10;
  assert.ok(interval[0] > 0.05, `Recall@10 ${base} → ${trained} (${interval.join(' to ')})`);
  assert.ok(Math.abs(trained - base - (interval[0] + interval[1]) / 2) < 0.05);
  assert.deepEqual([report.steps, report.pairs], [150, 855]);
  const document = await readManifest(report.towers.document);
  const query = await readManifest(report.towers.query);
  const before = await readManifest(request.base);
  assert.deepEqual([document.role, query.role], ['document', 'query']);
  assert.deepEqual(query.space, document.space);
  assert.equal(document.space.fingerprint, report.towers.space);
  assert.notEqual(document.space.fingerprint, before.space.fingerprint);
  for (const folder of [report.towers.document, report.towers.query]) {
    const tower = await openTower(folder, { cacheDir: request.cacheDir!, inline: true });
    assert.equal((await tower.encode(await tower.tokenize('a b c'))).vector.length, document.dimensions);
    await tower.close();
  }
  assert.equal(
    statSync(join(report.towers.query, 'model.onnx')).ino,
    statSync(join(report.towers.document, 'model.onnx')).ino,
  );
});

test('the same request gives the same weights, and another seed others', async (context) => {
  const request = requestFor(context, { separate: true });
  const first = await train(request);
  const again = await train({ ...request, out: `${request.out}-2` });
  const other = await train({ ...request, out: `${request.out}-3`, seed: 2 });
  assert.deepEqual(weightsOf(again), weightsOf(first));
  assert.notDeepEqual(weightsOf(other), weightsOf(first));
  const shared = await train({ ...request, out: `${request.out}-4`, separate: false });
  assert.equal(shared.parameters * 2, first.parameters);
  assert.equal(shared.flops, first.flops);
});

test('a run that was broken off goes on, mined negatives and all, as if it had not been', async (context) => {
  const request = requestFor(context, { steps: 40, mined: 2, negatives: 0 });
  const whole = await train(request);
  const parts = { ...request, out: `${request.out}-parts` };
  // Before the first step, in the first epoch and in the second: there are 26 steps in one.
  const atOnce = new Error('at once');
  await assert.rejects(train({ ...parts, signal: AbortSignal.abort(atOnce) }), atOnce);
  await interruptAfter(7, { ...parts, resume: true });
  await refuses(train(parts), /was broken off: go on with --resume/);
  await refuses(train({ ...parts, resume: true, rate: 0.02 }), /a run with rate 0.01, not 0.02/);
  await interruptAfter(31, { ...parts, resume: true });
  const report = await train({ ...parts, resume: true });
  assert.deepEqual(weightsOf(report), weightsOf(whole));
  assert.ok(Math.abs(report.loss - whole.loss) < 1e-9);
  assert.ok(!existsSync(join(parts.out, 'checkpoint.safetensors')));
});

test('what is finished is not done again, and not for another request', async (context) => {
  const request = requestFor(context);
  const report = await train(request);
  const written = statSync(join(report.towers.document, 'model.onnx')).mtimeMs;
  assert.deepEqual(await train(request), report);
  assert.deepEqual(await train({ ...request, resume: true, workers: 2 }), report);
  assert.equal(statSync(join(report.towers.document, 'model.onnx')).mtimeMs, written);
  await refuses(
    train({ ...request, steps: 13 }),
    /a run with steps 12, not 13: give the same, or another --out/,
  );
});

test('a query tower of fewer layers has weights of its own, and costs less', async (context) => {
  const request = requestFor(context, {
    queryStudent: { kind: 'transformer', layers: 1 },
    queryPrompt: 'query: ',
    documentPrompt: 'star ',
  });
  const { towers, flops } = await train(request);
  const size = (folder: string): number => statSync(join(folder, 'model.onnx')).size;
  assert.ok(size(towers.query) < size(towers.document));
  const full = await train({
    ...request,
    out: `${request.out}-full`,
    queryStudent: undefined,
    separate: true,
  });
  assert.ok(flops < full.flops);
  const [document, query] = [await readManifest(towers.document), await readManifest(towers.query)];
  assert.deepEqual(
    [document.prompt, document.space.documentPrompt, query.prompt],
    ['star ', 'star ', 'query: '],
  );
  assert.equal(document.queryPrompt, undefined);
});

test('in eight bits the towers are smaller, and measured as they are', async (context) => {
  const model = tinyBert({ ...TINY, width: 32, vocabulary: 200 });
  const base = tinyBase(context, model, 32);
  const request = requestFor(context, { base });
  const fp32 = await train(request);
  const int8 = await train({ ...request, out: `${request.out}-int8`, precision: 'int8' });
  assert.ok(weightsOf(int8).length < 0.6 * weightsOf(fp32).length);
  assert.equal(int8.loss, fp32.loss);
  assert.notEqual(int8.towers.space, fp32.towers.space);
  assert.ok(Math.abs(int8.heldOut.recall10.trained - fp32.heldOut.recall10.trained) < 0.2);
});

test('given negatives count: a batch of two pairs with one each has four candidates', async (context) => {
  const pairs = letterPairs(60).map((pair, i) => ({ ...pair, negatives: [letterPairs(60, 9)[i]!.document] }));
  const request = requestFor(context, { pairs: linesFile(context, pairs), batch: 2, steps: 1, rate: 1e-6 });
  const with1 = await train(request);
  const none = await train({ ...request, out: `${request.out}-none`, negatives: 0 });
  assert.ok(with1.loss > none.loss);
});

test('a request that can not be is refused before anything is done', async (context) => {
  const request = requestFor(context);
  await refuses(train({ ...request, epochs: 1 }), /epochs or steps, not both/);
  await refuses(train({ ...request, batch: 1 }), /a batch of 1 has no negatives/);
  await refuses(
    train({ ...request, queryStudent: { kind: 'transformer', layers: 1 }, separate: false }),
    /has weights of its own/,
  );
  await refuses(train({ ...request, resume: true }), /there is no checkpoint to go on from/);
  await refuses(train({ ...request, maxTokens: 2 }), /all queries are the same in 2 tokens/);
  assert.ok(!existsSync(request.out));
  writeFileSync(request.out, '');
  await refuses(train(request), /can't make the folder/);
});

test('a checkpoint that is damaged is told from one that is missing work', async (context) => {
  const request = requestFor(context);
  await interruptAfter(3, request);
  writeFileSync(join(request.out, 'checkpoint.safetensors'), 'not what it was');
  await refuses(train({ ...request, resume: true }), /missing or damaged; start anew/);
});
