import assert from 'node:assert/strict';
import { appendFileSync, existsSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { readManifest } from '../../towers/directory.ts';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { TrainingError } from '../errors.ts';
import { letterPairs, tinyBase } from '../testing/tiny-base.ts';
import { type PipelineOptions, type PipelineReport, runPipeline } from './pipeline.ts';
import { readRecipe, Recipe } from './recipe.ts';

/** A recipe of some seconds, and how often its pairs were made. */
function tinyRecipe(context: TestContext) {
  const folder = temporaryFolder(context);
  const recipe = Recipe.parse({
    base: tinyBase(context),
    pairs: 'letters',
    out: join(folder, 'out'),
    stage1: { steps: 40, batch: 32, rate: 0.01, heldOutDocuments: 300 },
    stage2: { layers: 1, steps: 30, batch: 32, rate: 0.01 },
  });
  const made = { pairs: 0 };
  const options: PipelineOptions = {
    cacheDir: folder,
    threads: 1,
    makePairs: {
      letters: async (file) => {
        made.pairs++;
        writeFileSync(
          file,
          letterPairs(700)
            .map((pair) => JSON.stringify(pair))
            .join('\n'),
        );
      },
    },
  };
  return { recipe, options, made };
}

/** When each artefact was written. */
function times({ out, artefacts }: PipelineReport): Record<string, number> {
  return Object.fromEntries(Object.keys(artefacts).map((path) => [path, statSync(join(out, path)).mtimeMs]));
}

test('a recipe gives a teacher, a student, its rivals, and the differences', async (context) => {
  const { recipe: plain, options, made } = tinyRecipe(context);
  const recipe = { ...plain, sameSteps: true, stage2: { ...plain.stage2, contrastive: 0.1 } };
  const report = await runPipeline(recipe, options);
  const { stage1, twoStage, endToEnd, difference, sameSteps } = report;
  assert.equal(difference!.recall10, twoStage.recall10 - endToEnd!.recall10);
  const [low, high] = difference!.interval;
  assert.ok(low <= difference!.recall10 && difference!.recall10 <= high);
  assert.ok(twoStage.flops > stage1.flops);
  assert.ok(Math.abs(endToEnd!.flops / twoStage.flops - 1) < 0.02);
  assert.ok(endToEnd!.steps > stage1.steps);
  assert.equal(sameSteps!.steps, stage1.steps);
  assert.ok(sameSteps!.flops < stage1.flops);
  assert.equal(sameSteps!.difference.recall10, twoStage.recall10 - sameSteps!.recall10);
  const student = await readManifest(twoStage.tower);
  assert.equal(student.space.fingerprint, stage1.towers.space);
  assert.equal(student.distillation!.loss, 'mse + (1 - cosine) + 0.1 * contrastive');
  assert.equal(student.distillation!.corpus, 'pairs.jsonl');
  assert.notEqual(endToEnd!.towers.space, stage1.towers.space);
  assert.ok(Math.abs(twoStage.kept.recall10 - twoStage.recall10 / stage1.recall10) < 1e-12);

  const before = times(report);
  assert.deepEqual(await runPipeline(recipe, options), report);
  assert.deepEqual(times(report), before);
  assert.equal(made.pairs, 1);
});

test('what was changed behind its back is made again, and what is asked anew is made beside', async (context) => {
  const { recipe, options, made } = tinyRecipe(context);
  const small = { ...recipe, endToEnd: false, stage1: { ...recipe.stage1, steps: 5 } };
  const report = await runPipeline(small, options);
  const pairs = Object.keys(report.artefacts).find((path) => path.endsWith('pairs.jsonl'))!;
  appendFileSync(join(report.out, pairs), '\n{"query": "q", "document": "d"}\n');
  const lines: string[] = [];
  assert.deepEqual(await runPipeline(small, { ...options, log: (line) => lines.push(line) }), report);
  assert.equal(made.pairs, 2);
  assert.ok(lines.some((line) => line.includes('pairs.jsonl is not as it was made: made again')));
  const other = await runPipeline({ ...small, stage2: { ...small.stage2, steps: 5 } }, options);
  assert.equal(other.stage1.towers.space, report.stage1.towers.space);
  assert.notEqual(other.twoStage.tower, report.twoStage.tower);
  assert.ok(existsSync(report.twoStage.tower));
});

test('artefacts may be moved: nothing is made again, and what is made next starts from them', async (context) => {
  const { recipe, options, made } = tinyRecipe(context);
  const small = { ...recipe, endToEnd: false, stage1: { ...recipe.stage1, steps: 5 } };
  const report = await runPipeline(small, options);
  const moved = { ...small, out: `${recipe.out}-moved` };
  renameSync(recipe.out, moved.out);
  const again = await runPipeline(moved, options);
  assert.equal(JSON.stringify(again), JSON.stringify(report).replaceAll(recipe.out, moved.out));
  const other = await runPipeline({ ...moved, stage2: { ...small.stage2, steps: 5 } }, options);
  assert.equal(other.twoStage.steps, 5);
  assert.equal(made.pairs, 1);
});

test('a pipeline that was broken off in any step goes on there', async (context) => {
  const { recipe, options } = tinyRecipe(context);
  const whole = await runPipeline({ ...recipe, out: `${recipe.out}-whole` }, options);
  for (const [step, at] of [
    ['stage1', 7],
    ['stage2', 12],
    ['end-to-end', 9],
  ] as const) {
    const controller = new AbortController();
    const reason = new Error(`in ${step}`);
    const seen = new Set<string>();
    await assert.rejects(
      runPipeline(recipe, {
        ...options,
        signal: controller.signal,
        onProgress: (name, { done }) => {
          seen.add(name);
          if (name === step && done === at) controller.abort(reason);
        },
      }),
      reason,
    );
    assert.equal([...seen].at(-1), step);
    assert.ok(seen.size <= 2, 'what came before is not done again');
  }
  const report = await runPipeline(recipe, options);
  assert.equal(report.stage1.towers.space, whole.stage1.towers.space);
  assert.equal(report.endToEnd!.towers.space, whole.endToEnd!.towers.space);
  assert.equal(report.difference!.recall10, whole.difference!.recall10);
});

test('a recipe is refused by file, key and what is wrong with it', async (context) => {
  const file = join(temporaryFolder(context), 'recipe.yaml');
  const refuses = async (text: string, message: RegExp): Promise<void> => {
    writeFileSync(file, text);
    await assert.rejects(readRecipe(file), (error) => {
      assert.ok(error instanceof TrainingError && error.reason === 'REQUEST_INVALID');
      assert.match(error.message, message);
      assert.ok(error.message.includes(file));
      return true;
    });
  };
  const rest = 'pairs: p\nout: o\nstage2: {layers: 2}\n';
  await refuses(`${rest}stage1: {bach: 3}\n`, /stage1: Unrecognized key: "bach"/);
  await refuses(`${rest}stages: 2\n`, /Unrecognized key: "stages"/);
  await refuses('pairs: p\nout: o\n', /stage2/);
  await refuses(`${rest}stage1: {batch: many}\n`, /stage1.batch: /);
  await refuses('a: [', /is no YAML/);
  await assert.rejects(readRecipe(`${file}-nowhere`), /there is no file/);
  const { recipe, options } = tinyRecipe(context);
  await assert.rejects(runPipeline({ ...recipe, pairs: 'words' }, options), /no file words.*letters/);
  const started: string[] = [];
  await assert.rejects(
    runPipeline(
      { ...recipe, stage2: { layers: 9 } },
      { ...options, onProgress: (step) => started.push(step) },
    ),
    /9 layers/,
  );
  assert.deepEqual(started, [], 'nothing is trained for a student that can not be');
});
