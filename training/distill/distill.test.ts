import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { LookupTower, parseManifest } from '../../towers/lookup/tower.ts';
import { openTower } from '../../towers/open.ts';
import { pullTower } from '../../towers/pull.ts';
import { startEndpoint } from '../../towers/remote/testing/endpoint.ts';
import { Model } from '../../towers/session/model.ts';
import { TextTokenizer } from '../../towers/tokenizer/tokenizer.ts';
import type { Tower } from '../../towers/tower.ts';
import {
  temporaryFolder,
  TINY_TOKENIZER,
  VOCABULARY,
  writeTinyTower,
} from '../../towers/testing/tiny-tower.ts';
import { TrainingError, type TrainingErrorReason } from '../errors.ts';
import { OnnxError } from '../onnx/errors.ts';
import type { Model as OnnxModel } from '../onnx/model.ts';
import { TINY, tinyBert, tinyLlama } from '../testing/tiny-models.ts';
import { encodeModel } from '../onnx/write.ts';
import { seededRandom } from '../random.ts';
import { distill } from './distill.ts';
import type { DistillRequest } from './request.ts';
import { readSources } from './sources.ts';

const random = seededRandom(11);
const letters = (count: number): string =>
  Array.from({ length: count }, () => String.fromCodePoint(97 + Math.floor(random() * 26))).join(' ');
const TEXTS = [...new Set(Array.from({ length: 400 }, () => letters(3 + Math.floor(random() * 6))))].slice(
  0,
  300,
);

async function open(context: TestContext, folder: string, normalize?: boolean): Promise<Tower> {
  const options = {
    cacheDir: temporaryFolder(context),
    inline: true,
    ...(normalize !== undefined && { normalize }),
  };
  const tower = await openTower(folder, options);
  context.after(() => tower.close());
  return tower;
}

/** A teacher with random weights, of an architecture, opened for training. */
function encoderTower(context: TestContext, model: OnnxModel): Promise<Tower> {
  const folder = temporaryFolder(context);
  const space = { normalize: true, dimensions: TINY.width };
  writeTinyTower(folder, { model: encodeModel(model), space, queryPrompt: '' });
  return open(context, folder, false);
}

/** What to make of {@link TEXTS}. */
function requestFor(
  context: TestContext,
  teacher: Tower,
  changes: Partial<DistillRequest> = {},
): DistillRequest {
  const folder = temporaryFolder(context);
  const texts = join(folder, 'queries.txt');
  writeFileSync(texts, TEXTS.join('\n'));
  return {
    teacher,
    student: { kind: 'transformer', layers: 2 },
    source: { texts },
    out: join(folder, 'student'),
    cacheDir: folder,
    threads: 1,
    steps: 60,
    batch: 32,
    rate: 0.01,
    ...changes,
  };
}

const rejects = (promise: Promise<unknown>, reason: TrainingErrorReason, message: RegExp): Promise<void> =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof TrainingError, String(error));
    assert.equal(error.reason, reason);
    assert.match(error.message, message);
    return true;
  });

interface Curve {
  curve: { step: number; heldOutCosine: number }[];
}

for (const [family, encoder] of [
  ['BERT', tinyBert],
  ['Llama', tinyLlama],
] as const) {
  for (const width of [undefined, 6])
    test(`a student of a ${family} encoder comes nearer to its teacher, as a tower in eight bits and in float32; width ${width}`, async (context) => {
      const teacher = await encoderTower(context, encoder({ ...TINY, layers: 4 }));
      const student = { kind: 'transformer', layers: 2, width } as const;
      const report = await distill(requestFor(context, teacher, { student }));
      assert.equal(report.student, width === undefined ? 'transformer:2' : 'transformer:2x6');
      assert.equal(report.texts, 285);
      assert.ok(report.steps <= 60);
      const { curve } = JSON.parse(readFileSync(join(report.out, 'training.json'), 'utf8')) as Curve;
      const [first, best] = [curve[0]!.heldOutCosine, Math.max(...curve.map((point) => point.heldOutCosine))];
      assert.ok(1 - best < (1 - first) / 2, `held-out cosine ${first} → ${best}`);
      assert.ok(
        Math.abs(report.heldOutCosine - best) < 0.01,
        `${best} in float32, ${report.heldOutCosine} as written`,
      );

      for (const folder of [report.out, join(report.out, 'fp32')]) {
        const student = await open(context, folder);
        const { manifest } = student;
        assert.equal(manifest.role, 'query');
        assert.equal(manifest.normalize, true);
        assert.equal(manifest.space.fingerprint, teacher.manifest.space.fingerprint);
        assert.equal(manifest.distillation?.loss, 'mse + (1 - cosine)');
        assert.equal(manifest.distillation.steps, report.steps);
        const [text] = TEXTS;
        const { vector } = await student.encode(await student.tokenize(text!));
        const { vector: target } = await teacher.encode(await teacher.tokenize(text!));
        const cosine = vector.reduce((sum, x, i) => sum + x * target[i]!, 0) / Math.hypot(...target);
        assert.ok(cosine > 0.8, `cosine ${cosine}`);
      }
      assert.equal(existsSync(join(report.out, 'checkpoint.safetensors')), false);
    });
}

/** What the manifest says of stages gives the vectors of the graph. */
async function assertSameWithoutGraph(folder: string): Promise<void> {
  const read = (name: string): Buffer => readFileSync(join(folder, name));
  const manifest = parseManifest(read('tower.json').toString());
  const tokenizer = read('tokenizer.json').toString();
  const plain = new LookupTower(manifest, { tokenizer, model: read('model.onnx') });
  const path = join(folder, 'model.onnx');
  const { dimensions, normalize } = manifest;
  const options = { path, device: 'cpu', threads: 1, pooling: 'mean', dimensions, normalize } as const;
  const graph = await Model.load(options, () => undefined);
  const reference = await TextTokenizer.load(tokenizer, manifest);
  for (const text of [...TEXTS.slice(0, 50), '', 'hello world star']) {
    const { ids } = await reference.encode(text);
    const expected = await graph.run({ ids: Int32Array.from(ids), lengths: Int32Array.of(ids.length) });
    for (const [i, x] of plain.encode(text).vector.entries())
      assert.ok(Math.abs(x - expected[i]!) < 1e-6, text);
  }
  await graph.close();
}

describe('a lookup student', () => {
  function averaging(context: TestContext): Promise<Tower> {
    const folder = temporaryFolder(context);
    writeTinyTower(folder, { space: { normalize: true }, queryPrompt: 'query: ' });
    return open(context, folder, false);
  }

  test('of a teacher that averages token vectors learns to be it, the same each time', async (context) => {
    const teacher = await averaging(context);
    const request = requestFor(context, teacher, { student: { kind: 'lookup' }, seed: 4 });
    const report = await distill(request);
    assert.equal(report.student, 'lookup');
    assert.ok(report.heldOutCosine > 0.98, `held-out cosine ${report.heldOutCosine}`);
    assert.ok(report.parameters >= Object.keys(VOCABULARY).length * 4);
    const student = await open(context, report.out);
    const { manifest } = student;
    assert.equal(manifest.prompt, '');
    assert.equal(manifest.distillation?.teacher, 'tiny');
    assert.equal(manifest.distillation.seed, 4);
    assert.equal(manifest.distillation.texts, report.texts);
    assert.equal(manifest.distillation.heldOutCosine, report.heldOutCosine);
    for (const folder of [report.out, join(report.out, 'fp32')]) await assertSameWithoutGraph(folder);
    const again = await distill({ ...request, out: join(temporaryFolder(context), 'again') });
    assert.deepEqual(
      readFileSync(join(again.out, 'model.onnx')),
      readFileSync(join(report.out, 'model.onnx')),
    );
  });

  test('starts from one that is there, knows what it knew, and says where it is from', async (context) => {
    const teacher = await averaging(context);
    const [student, steps] = [{ kind: 'lookup' } as const, 1];
    const sources = [{ source: 'letters', licence: 'CC0 1.0', texts: 300 }];
    const first = await distill(requestFor(context, teacher, { student, sources, positions: 2 }));
    const init = `file:${first.out}`;
    const [texts, ground] = [TEXTS.slice(0, 60), temporaryFolder(context)];
    writeFileSync(join(ground, 'few.txt'), texts.join('\n'));
    const source = { texts: join(ground, 'few.txt') };
    const said: string[] = [];
    const log = (message: string): unknown => said.push(message);
    const continued = await distill(
      requestFor(context, teacher, { student, steps, init, source, log, rate: 1e-6 }),
    );
    const afresh = await distill(requestFor(context, teacher, { student, steps, source, log, rate: 1e-6 }));
    assert.ok(
      continued.heldOutCosine > 0.97 && afresh.heldOutCosine < continued.heldOutCosine - 0.02,
      `${continued.heldOutCosine} from ${first.heldOutCosine}, ${afresh.heldOutCosine} afresh`,
    );
    // Of the two, only the fresh one is warned of its few texts.
    assert.equal(said.filter((line) => /60 texts are few .* 20000 would do; .* --init/.test(line)).length, 1);
    const { manifest: before } = await open(context, first.out);
    assert.deepEqual(before.distillation?.sources, sources);
    const card = readFileSync(join(first.out, 'README.md'), 'utf8');
    assert.match(card, /^---\nlicense: \S+\ntags:\n(  - \S+\n)+---\n/);
    assert.match(card, /\| letters \| CC0 1\.0 \| 300 \|/);
    const { manifest } = await open(context, continued.out);
    assert.match(manifest.distillation?.init ?? '', /^student \([0-9a-f]{16}\)$/);
    assert.equal(manifest.distillation?.positions, 2);
    await assertSameWithoutGraph(continued.out);

    const refuses = (changes: Partial<DistillRequest>, message: RegExp): Promise<void> =>
      rejects(
        distill(requestFor(context, teacher, { student, init, source, ...changes })),
        'REQUEST_INVALID',
        message,
      );
    await refuses({ width: 3 }, /decides width: leave it out/);
    await refuses({ positions: 1 }, /more than 1 positions/);
    await refuses({ init: `file:${teacher.directory}` }, /tiny is no student, and a lookup starts from/);
    await refuses({ init: 'all-MiniLM-L6-v2-lookup' }, /is of space sp1_94ab.*, the teacher tiny of/);
    await refuses(
      { student: { kind: 'transformer', layers: 1 } },
      /student is a student of the kind lookup, .* give --student lookup, or another --init/,
    );
  });

  test('takes a contrastive term on the documents that the texts are from', async (context) => {
    const teacher = await averaging(context);
    const corpus = temporaryFolder(context);
    const documents = TEXTS.map((text, index) => JSON.stringify({ _id: `d${index}`, title: '', text }));
    writeFileSync(join(corpus, 'corpus.jsonl'), documents.join('\n'));
    const loss = { mse: 0, cosine: 1, contrastive: 0.1 };
    const request = requestFor(context, teacher, { student: { kind: 'lookup' }, loss, source: { corpus } });
    const report = await distill(request);
    assert.ok(report.heldOutCosine > 0.9, `held-out cosine ${report.heldOutCosine}`);
    const { manifest } = await open(context, report.out);
    assert.equal(manifest.distillation?.loss, '(1 - cosine) + 0.1 * contrastive');
    const without = requestFor(context, teacher, { student: { kind: 'lookup' }, loss });
    await rejects(
      distill(without),
      'REQUEST_INVALID',
      /looks at documents .* give a corpus, not a file of texts/,
    );
    assert.equal(existsSync(join(without.cacheDir!, 'vectors')), false, 'the teacher has read nothing');
  });
});

test('a list of sources that is none is refused, with the file and what is wrong', async (context) => {
  const file = join(temporaryFolder(context), 'sources.json');
  await rejects(readSources(file), 'REQUEST_INVALID', /there is no file .*sources\.json/);
  for (const [content, message] of [
    ['{', /sources\.json is no JSON/],
    ['[]', /is no list of sources/],
    ['[{"source": "a", "texts": 1}]', /\[0\.licence\]/],
    ['[{"source": "a", "licence": "MIT", "texts": 1, "url": "b"}]', /url/],
  ] as const) {
    writeFileSync(file, content);
    await rejects(readSources(file), 'REQUEST_INVALID', message);
  }
});

test('queries of an evaluation are not trained on, and how many there were is told', async (context) => {
  const teacher = await encoderTower(context, tinyBert());
  const evaluation = temporaryFolder(context);
  const asked = TEXTS.slice(0, 3).map((text) => text.toUpperCase());
  writeFileSync(
    join(evaluation, 'queries.jsonl'),
    [...asked, 'never seen']
      .map((text, index) => JSON.stringify({ _id: `q${index}`, text: `${text} ?` }))
      .join('\n'),
  );
  const report = await distill(requestFor(context, teacher, { steps: 1, exclude: [evaluation] }));
  assert.equal(report.removed, 3);
  assert.equal(report.texts, 282);
  for (const exclude of [['SCIFACT'], [evaluation, temporaryFolder(context)]]) {
    const request = requestFor(context, teacher, { steps: 1, exclude });
    await rejects(
      distill(request),
      'REQUEST_INVALID',
      /there is no .*queries\.jsonl, whose queries were to be/,
    );
  }
});

test('a transformer goes on from one of its shape, as written in eight bits, and from no other', async (context) => {
  const teacher = await encoderTower(context, tinyBert({ ...TINY, layers: 4 }));
  for (const width of [undefined, 6]) {
    const student = { kind: 'transformer', layers: 2, width } as const;
    const first = await distill(requestFor(context, teacher, { student }));
    const init = `file:${first.out}`;
    const next = await distill(requestFor(context, teacher, { student, init, steps: 1, rate: 1e-9 }));
    assert.ok(
      Math.abs(next.heldOutCosine - first.heldOutCosine) < 0.003,
      `${first.heldOutCosine}, then ${next.heldOutCosine}`,
    );
    const { manifest } = await open(context, next.out);
    assert.match(manifest.distillation?.init ?? '', /^student \([0-9a-f]{16}\)$/);
    const other = requestFor(context, teacher, { student: { kind: 'transformer', layers: 3 }, init });
    await rejects(
      distill(other),
      'REQUEST_INVALID',
      /student is a student of the kind transformer:2.*, and a /,
    );
  }
});

test('a teacher that gives no number for a text is named with the text', async (context) => {
  const { graph, ...model } = tinyBert();
  const initializers = new Map(graph.initializers);
  const [name, table] = [...initializers].find(([, { dims }]) => dims[0] === TINY.vocabulary)!;
  const data = Float32Array.from(table.data as Float32Array);
  data.fill(NaN, VOCABULARY['q']! * TINY.width, (VOCABULARY['q']! + 1) * TINY.width);
  initializers.set(name, { ...table, data });
  const teacher = await encoderTower(context, { ...model, graph: { ...graph, initializers } });
  const broken = TEXTS.find((text) => text.includes('q'))!;
  for (const student of [{ kind: 'lookup' }, { kind: 'transformer', layers: 1 }] as const) {
    const request = requestFor(context, teacher, { student });
    await rejects(
      distill(request),
      'TEXTS_INVALID',
      new RegExp(`no finite numbers for the text "${broken}"`),
    );
  }
});

test('what the teacher is to read is said before, and texts in a language that it does not know', async (context) => {
  const teacher = await encoderTower(context, tinyBert());
  const said: string[] = [];
  const log = (message: string): unknown => said.push(message);
  const changes = { student: { kind: 'lookup' }, steps: 1, log } as const;
  await distill(requestFor(context, teacher, changes));
  const plan = `the teacher reads 300 texts, and the ${Object.keys(VOCABULARY).length} tokens of the vocabulary, each alone; then come 1 steps of 32 texts`;
  assert.ok(said.includes(plan), said.join('\n'));
  assert.equal(said.filter((line) => /language/.test(line)).length, 0);
  // The vocabulary of the tiny tower has letters and a few words of English.
  const texts = join(temporaryFolder(context), 'foreign.txt');
  writeFileSync(texts, TEXTS.map((text) => text.replaceAll(' ', '')).join('\n'));
  await distill(requestFor(context, teacher, { ...changes, source: { texts } }));
  assert.equal(said.filter((line) => /100 % of the words are read letter by letter/.test(line)).length, 1);
});

describe('a run', () => {
  test('that was interrupted leaves a tower and goes on as if it had not been', async (context) => {
    const teacher = await encoderTower(context, tinyBert());
    for (const student of [{ kind: 'transformer', layers: 1 }, { kind: 'lookup' }] as const) {
      const request = requestFor(context, teacher, { student, steps: 20 });
      const whole = await distill({ ...request, out: join(temporaryFolder(context), 'whole') });
      const controller = new AbortController();
      const first = await distill({
        ...request,
        signal: controller.signal,
        onProgress: ({ step }) => {
          if (step === 3) controller.abort();
        },
      });
      assert.equal(first.interrupted, true);
      assert.equal(first.steps, 3);
      await open(context, first.out);
      const rest = await distill({ ...request, resume: true });
      assert.equal(rest.interrupted, false);
      assert.equal(rest.steps, whole.steps);
      for (const file of ['model.onnx', 'fp32/model.onnx']) {
        assert.deepEqual(readFileSync(join(rest.out, file)), readFileSync(join(whole.out, file)), file);
      }
    }
  });

  test('moves at its last step, too', async (context) => {
    const teacher = await encoderTower(context, tinyBert());
    for (const student of [{ kind: 'transformer', layers: 1 }, { kind: 'lookup' }] as const) {
      const request = requestFor(context, teacher, { student, steps: 2 });
      const whole = await distill({ ...request, out: join(temporaryFolder(context), 'whole') });
      const controller = new AbortController();
      const first = await distill({
        ...request,
        signal: controller.signal,
        onProgress: () => controller.abort(),
      });
      assert.deepEqual([first.steps, whole.steps], [1, 2]);
      const [before, after] = [first, whole].map(({ out }) => readFileSync(join(out, 'fp32/model.onnx')));
      assert.notDeepEqual(after, before);
    }
  });

  test('goes on from its own checkpoint only', async (context) => {
    const teacher = await encoderTower(context, tinyBert());
    const request = requestFor(context, teacher, { steps: 4 });
    await rejects(
      distill({ ...request, resume: true }),
      'CHECKPOINT_INVALID',
      /there is no checkpoint to go on from/,
    );
    const controller = new AbortController();
    const { out } = await distill({
      ...request,
      signal: controller.signal,
      onProgress: ({ step }) => step === 2 && controller.abort(),
    });
    await rejects(
      distill({ ...request, resume: true, rate: 0.5 }),
      'CHECKPOINT_INVALID',
      /is of a run with rate 0\.01, not 0\.5/,
    );
    const checkpoint = join(out, 'checkpoint.safetensors');
    writeFileSync(checkpoint, readFileSync(checkpoint).subarray(0, -100));
    await rejects(distill({ ...request, resume: true }), 'CHECKPOINT_INVALID', /damaged/);
  });

  test('whose loss is no number ends, with the best tower until then', async (context) => {
    const teacher = await encoderTower(context, tinyBert());
    for (const steps of [60, 20]) {
      // With as many steps as looks, weights are looked at whose vectors are no numbers, before there is such a loss.
      const request = requestFor(context, teacher, { rate: 1e30, steps });
      await rejects(distill(request), 'DIVERGED', /no number after step \d+: .* smaller --rate than 1e\+30/);
      const { manifest } = await open(context, request.out);
      assert.ok(Number.isFinite(manifest.distillation!.heldOutCosine));
    }
  });

  test(
    'that ends on a full disk says so',
    { skip: !existsSync('/dev/full') && 'no /dev/full' },
    async (context) => {
      const teacher = await encoderTower(context, tinyBert());
      const taken = requestFor(context, teacher, { steps: 1 });
      mkdirSync(taken.out);
      symlinkSync('/dev/full', join(taken.out, 'training.json'));
      await rejects(distill(taken), 'CHECKPOINT_FAILED', /tower can't be written to .* \(ENOSPC/);
      writeFileSync(join(taken.out, 'file'), '');
      const out = join(taken.out, 'file', 'tower');
      await rejects(distill({ ...taken, out }), 'REQUEST_INVALID', /can't make the folder/);
      const controller = new AbortController();
      const request = requestFor(context, teacher, {
        signal: controller.signal,
        onProgress: () => controller.abort(),
      });
      await distill({ ...request, steps: 1 });
      symlinkSync('/dev/full', join(request.out, 'checkpoint.safetensors.part'));
      await rejects(distill(request), 'CHECKPOINT_FAILED', /can't be written \(ENOSPC.*untouched/);
    },
  );
});

test('what can’t be trained is named: an operator without a gradient and its node, layers that are not there', async (context) => {
  const { graph, ...model } = tinyBert();
  const nodes = graph.nodes.map((node) => ({
    ...node,
    outputs: node.outputs.map((name) => (name === 'last_hidden_state' ? 'inner' : name)),
  }));
  const odd = {
    op: 'Elu',
    domain: '',
    name: 'odd_one',
    inputs: ['inner'],
    outputs: ['last_hidden_state'],
    attributes: {},
  };
  const teacher = await encoderTower(context, { ...model, graph: { ...graph, nodes: [...nodes, odd] } });
  const fails = (changes: Partial<DistillRequest>, message: RegExp): Promise<void> =>
    assert.rejects(distill(requestFor(context, teacher, changes)), (error) => {
      assert.ok(error instanceof OnnxError);
      assert.match(error.message, message);
      return true;
    });
  await fails({}, /Elu \(node "odd_one"\) has no gradient/);
  await fails({ student: { kind: 'transformer', layers: 7 } }, /7 layers can't be cut from a teacher of 2/);
  await fails({ student: { kind: 'transformer', layers: 1, width: 8 } }, /width of 8 is not between 1 and 7/);
});

test('a lookup student of a teacher on a server is a tower of its space', async (context) => {
  const endpoint = await startEndpoint(context);
  const [cacheDir, tokenizer] = [temporaryFolder(context), temporaryFolder(context)];
  writeFileSync(join(tokenizer, 'tokenizer.json'), JSON.stringify(TINY_TOKENIZER));
  const remoteFacts = { maxTokens: 64, documentPrompt: '', queryPrompt: '', tokenizer };
  const reference = `remote:${endpoint.url}#tiny`;
  const { manifest } = await pullTower(reference, { cacheDir, remoteFacts });
  const teacher = await openTower(reference, { cacheDir, normalize: false });
  context.after(() => teacher.close());
  const request = requestFor(context, teacher, { student: { kind: 'lookup' }, steps: 20 });
  const report = await distill(request);
  const student = await open(context, request.out);
  assert.equal(student.manifest.space.fingerprint, manifest.space.fingerprint);
  assert.ok(report.heldOutCosine > 0.5, String(report.heldOutCosine));
  await rejects(distill({ ...request, student: { kind: 'transformer', layers: 1 } }), 'REQUEST_INVALID', /./);
});

test('too few texts say so before the teacher reads any', async (context) => {
  const teacher = await encoderTower(context, tinyBert());
  const request = requestFor(context, teacher);
  const texts = join(temporaryFolder(context), 'queries.txt');
  for (const content of ['', 'only one']) {
    writeFileSync(texts, content);
    await rejects(distill({ ...request, source: { texts } }), 'TEXTS_INVALID', /at least 20 are needed/);
  }
});

test('texts that are longer than the teacher reads are cut, as queries are', async (context) => {
  const teacher = await encoderTower(context, tinyBert());
  const texts = join(temporaryFolder(context), 'queries.txt');
  writeFileSync(texts, TEXTS.map((text) => `${text} ${letters(30)}`).join('\n'));
  const report = await distill(requestFor(context, teacher, { source: { texts }, steps: 2 }));
  assert.equal(report.steps, 2);
});
