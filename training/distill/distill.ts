import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { type LocalTower, pullTower } from '../../towers/pull.ts';
import type { Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import { seesDocuments } from '../gradient/losses.ts';
import { POSITIONS } from '../lookup/model.ts';
import { MAX_READ_TOKENS, vocabularySize } from '../lookup/single-tokens.ts';
import { type LookupStart, readLookup } from '../lookup/start.ts';
import type { Tensor } from '../onnx/tensor.ts';
import { hasCheckpoint, makeFolder, noCheckpoint, removeCheckpoint, type Settings } from '../run-folder.ts';
import {
  readCorpus,
  readExcluded,
  readQueries,
  readTexts,
  textsFromDocuments,
  textsOf,
  type CorpusDocument,
  type TextSet,
} from '../texts.ts';
import { prepareData, type TrainingData } from './data.ts';
import { withDocuments } from './documents.ts';
import { FOREIGN_SHARE, foreignShare } from './foreign.ts';
import { fit, readFitCheckpoint } from './fit.ts';
import { openLookup } from './lookup.ts';
import {
  ADDED_PAIRS,
  DEFAULT_PAIRS,
  FEW_TEXTS,
  describeLoss,
  lookupWidth,
  nameOf,
  planOf,
  type Choices,
  type DistillReport,
  type DistillRequest,
  type FitPlan,
} from './request.ts';
import type { Student } from './student.ts';
import { openStudentTokenizer, type StudentTokenizer } from './tokenizer.ts';
import { cutStudent, openTransformer } from './transformer.ts';
import { writeStudent } from './write-student.ts';

/** Share of the steps in which the learning rate rises. */
const WARMUP = 0.05;

/** Looks at held-out texts in a run, and how many looks in a row at a worse student end the run. */
const LOOKS = 20;
const PATIENCE = 4;

/**
 * Distils a query tower from texts without labels: the student's vectors are brought near to the teacher's. Writes a tower
 * in eight bits to `out`, and the same in single precision to `fp32` below it.
 *
 * @throws {TrainingError} `TEXTS_INVALID`, `REQUEST_INVALID`, `CHECKPOINT_INVALID`, `CHECKPOINT_FAILED`, `DIVERGED`
 * @throws {OnnxError} `GRADIENT_MISSING`, `OPERATOR_UNSUPPORTED`, ... for a teacher whose graph can't be trained
 */
export async function distill(request: DistillRequest): Promise<DistillReport> {
  const started = performance.now();
  const { teacher, cacheDir } = request;
  if (teacher.manifest.normalize) {
    throw new TrainingError(
      'REQUEST_INVALID',
      'the teacher gives vectors of unit length; open it with normalize: false, so that the MSE sees their lengths',
    );
  }
  refuseForeign(request);
  const tokenizer = await openStudentTokenizer(teacher, request.tokenizer, { cacheDir });
  try {
    return await distillWith(tokenizer, request, started);
  } finally {
    await tokenizer.close();
  }
}

async function distillWith(
  tokenizer: StudentTokenizer,
  request: DistillRequest,
  started: number,
): Promise<DistillReport> {
  const { teacher, seed = 1, log = () => {}, signal, cacheDir } = request;
  const out = resolve(request.out);
  await makeFolder(out);
  const { removed, texts } = await collectTexts(request, seed);
  const planned = planOf(request, texts.length);
  const documents = seesDocuments(planned.loss) ? readDocuments(request) : undefined;
  if (request.resume === true && !(await hasCheckpoint(out))) throw noCheckpoint(out);
  const { choices, open } = await prepareStudent(request, planned, tokenizer);
  if (request.student.kind === 'lookup' && request.init === undefined && texts.length < FEW_TEXTS) {
    log(
      `${texts.length} texts are few for a lookup that starts afresh: ${FEW_TEXTS} would do; or let it start from one that ` +
        'is there, such as --init all-MiniLM-L6-v2-lookup',
    );
  }
  if (removed > 0) log(`${removed} texts are queries of an evaluation and were left out`);
  const foreign = await foreignShare(tokenizer, texts);
  if (foreign > FOREIGN_SHARE) {
    log(
      `${Math.round(100 * foreign)} % of the words are read letter by letter, or not at all: the texts seem to be in a ` +
        `language that ${teacher.manifest.name} does not know, and a student can't know it better`,
    );
  }
  log(
    `the teacher reads ${texts.length} texts` +
      (await vocabularyNote(request, tokenizer)) +
      `; then come ${planned.steps} steps of ${planned.batch} texts`,
  );
  const cache = { cacheDir, signal, onProgress: request.onTeacher };
  let data = await prepareData(teacher, tokenizer, texts, { ...cache, seed });
  try {
    const plan = { ...planned, batch: Math.min(planned.batch, data.fitted.length) };
    if (documents !== undefined)
      data = await withDocuments(data, request.documentTower ?? teacher, documents, cache);
    const settings = settingsOf(request, plan, choices, data);
    const resumed = request.resume === true ? await readFitCheckpoint(out, settings) : undefined;
    const student = await open(data, resumed?.tensors.state);
    try {
      log(`fitting ${data.fitted.length} texts`);
      const result = await fit(student, data, {
        ...plan,
        seed,
        lookEvery: Math.max(1, Math.round(plan.steps / LOOKS)),
        patience: PATIENCE,
        settings,
        folder: out,
        resumed,
        signal,
        log,
        onProgress: request.onProgress,
      });
      const report = await writeStudent({
        request,
        data,
        student,
        tokenizer,
        plan,
        choices,
        result,
        out,
        removed,
        started,
      });
      if (result.end === 'diverged') {
        throw new TrainingError(
          'DIVERGED',
          `the loss is no number after step ${result.steps}: ${out} holds the best student until then, and the last good ` +
            `checkpoint if there was one; train again with a smaller --rate than ${plan.rate}`,
        );
      }
      if (result.end !== 'interrupted') await removeCheckpoint(out);
      return report;
    } finally {
      await student.close();
    }
  } finally {
    data.vectors.close();
    data.documents?.close();
  }
}

async function collectTexts({ source, exclude = [] }: DistillRequest, seed: number): Promise<TextSet> {
  const own = 'corpus' in source ? await readQueries(source.corpus) : [];
  const excluded = [...own, ...(await Promise.all(exclude.map(readExcluded))).flat()];
  if ('texts' in source) return readTexts(source.texts, seed, excluded);
  if ('queries' in source) {
    return textsOf(
      source.queries.map(({ query }) => query),
      source.name,
      excluded,
    );
  }
  if ('corpus' in source) return textsFromDocuments(readCorpus(source.corpus), source.corpus, seed, excluded);
  return textsFromDocuments(source.documents(), source.name, seed, excluded);
}

function readDocuments({ source }: DistillRequest): AsyncIterable<CorpusDocument> {
  if ('corpus' in source) return readCorpus(source.corpus);
  if ('documents' in source) return source.documents();
  if ('queries' in source) return documentsOf(source.queries);
  throw new TrainingError(
    'REQUEST_INVALID',
    'a loss that looks at documents needs those that texts are from: give a corpus, not a file of texts',
  );
}

async function* documentsOf(queries: readonly { document: string }[]): AsyncGenerator<CorpusDocument> {
  for (const { document } of queries) yield { title: '', text: document };
}

/** @throws {TrainingError} `REQUEST_INVALID` for a setting that the kind of student does not have */
function refuseForeign(request: DistillRequest): void {
  const { kind } = request.student;
  const foreign = FOREIGN[kind].filter((name) => request[name] !== undefined);
  if (foreign.length === 0) return;
  throw new TrainingError('REQUEST_INVALID', `a ${kind} student has no ${foreign.join(', ')}: leave it out`);
}

/** Settings that a kind of student does not have. */
const FOREIGN = {
  lookup: ['trainTables'],
  transformer: ['pairs', 'positions', 'width', 'bits', 'tokenizer'],
} as const;

/** A student that can be trained. */
interface Prepared {
  choices: Choices;
  /** Opens it for some texts, at the start or from a saved state. */
  open: (data: TrainingData, state: ReadonlyMap<string, Tensor> | undefined) => Promise<Student>;
}

/** Rejects students that can't be trained, before the teacher reads for minutes. */
async function prepareStudent(
  request: DistillRequest,
  { steps, rate, loss }: FitPlan,
  tokenizer: StudentTokenizer,
): Promise<Prepared> {
  const { teacher, student, seed = 1, threads } = request;
  const warmup = Math.min(steps, Math.ceil(steps * WARMUP));
  // At the end of a schedule the rate is 0: it ends after the last step, which would do nothing.
  const schedule = { rate, steps: steps + 1, warmup };
  if (student.kind === 'lookup') {
    const optimizer = { ...schedule, weightDecay: 0 };
    const cache = { cacheDir: request.cacheDir, signal: request.signal, onProgress: request.onTeacher };
    const { start, init } = await startOf(request, tokenizer);
    const width = start === undefined ? lookupWidth(request) : narrowWidth(start, teacher);
    const bits = request.bits ?? start?.bits ?? 8;
    const kept = start === undefined ? undefined : (start.pairs?.size ?? 1) - 1 + ADDED_PAIRS;
    const choices = {
      pairs: request.pairs ?? kept ?? DEFAULT_PAIRS,
      positions: request.positions ?? start?.tables.get(POSITIONS)?.length ?? 0,
      ...(width !== undefined && { width }),
      ...(bits === 4 && { bits }),
      ...(init !== undefined && { init }),
    };
    return {
      choices,
      open: (data, state) =>
        openLookup({
          teacher,
          tokenizer,
          loss,
          optimizer,
          data,
          ...choices,
          bits,
          start,
          seed,
          threads,
          cache,
          state,
        }),
    };
  }
  const { layers, width } = student;
  const { trainTables } = request;
  const init = await initialTower(request, tokenizer);
  const cut = await cutStudent({ teacher, layers, width, init, loss, trainTables, optimizer: schedule });
  return {
    choices: { trainTables: cut.trainTables, ...(init && { init: describeInit(init) }) },
    open: (_data, state) => openTransformer(cut, { threads, state }),
  };
}

/**
 * The lookup to start from, and what a manifest says of it.
 *
 * @throws {TrainingError} `REQUEST_INVALID` for one that does not fit the teacher, or settings that it has already
 */
async function startOf(
  request: DistillRequest,
  tokenizer: StudentTokenizer,
): Promise<{ start?: LookupStart; init?: string }> {
  const tower = await initialTower(request, tokenizer);
  if (tower === undefined) return {};
  const foreign = (['width', 'tokenizer'] as const).filter((name) => request[name] !== undefined);
  if (foreign.length > 0) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `the lookup that it starts from decides ${foreign.join(' and ')}: leave it out`,
    );
  }
  const start = await readLookup(tower);
  if (request.positions !== undefined && request.positions < (start.tables.get(POSITIONS)?.length ?? 0)) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `${tower.manifest.name} has more than ${request.positions} positions`,
    );
  }
  return { start, init: describeInit(tower) };
}

/**
 * The student to start from, if there is one.
 *
 * @throws {TrainingError} `REQUEST_INVALID` for one of another kind, space or tokenizer
 */
async function initialTower(
  { init, student, teacher, cacheDir }: DistillRequest,
  tokenizer: StudentTokenizer,
): Promise<LocalTower | undefined> {
  if (init === undefined) return undefined;
  const tower = await pullTower(init, { cacheDir });
  const { name, space, files, distillation, lookup } = tower.manifest;
  const kind = nameOf(student);
  const found = lookup === undefined ? distillation?.student : 'lookup';
  if (found !== kind) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `${name} is ${found === undefined ? 'no student' : `a student of the kind ${found}`}, and a ${kind} starts from ` +
        `one of its own kind: give --student ${found ?? kind}, or another --init`,
    );
  }
  if (space.fingerprint !== teacher.manifest.space.fingerprint) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `${name} is of space ${space.fingerprint}, the teacher ${teacher.manifest.name} of ` +
        `${teacher.manifest.space.fingerprint}; start from a student of the same space`,
    );
  }
  if (files['tokenizer.json'] !== tokenizer.tower.manifest.files['tokenizer.json']) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `${name} reads with another tokenizer than the teacher ${teacher.manifest.name}: its tokens would be others`,
    );
  }
  return tower;
}

/** The tower that a student started from, as its manifest names it. */
function describeInit({ manifest: { name, files } }: LocalTower): string {
  return `${name} (${files['model.onnx']!.slice(0, 16)})`;
}

/** Components of a lookup's vectors where they are fewer than its teacher's dimensions. */
function narrowWidth({ width }: LookupStart, { manifest }: Tower): number | undefined {
  return width < manifest.dimensions ? width : undefined;
}

/** What the teacher reads besides the texts, where a lookup starts afresh. */
async function vocabularyNote(
  { student, init }: DistillRequest,
  { tower }: StudentTokenizer,
): Promise<string> {
  if (student.kind !== 'lookup' || init !== undefined) return '';
  const size = await vocabularySize(tower.directory);
  if (size <= MAX_READ_TOKENS) return `, and the ${size} tokens of the vocabulary, each alone`;
  return `, and the ${MAX_READ_TOKENS} most frequent of the ${size} tokens of the vocabulary, each alone`;
}

/** What a run shares with the run that it resumes. */
function settingsOf(request: DistillRequest, plan: FitPlan, choices: Choices, data: TrainingData): Settings {
  const { teacher, student, seed = 1 } = request;
  const hash = createHash('sha256');
  for (const ids of data.ids) hash.update(Uint32Array.from([ids.length, ...ids]));
  return {
    teacher: teacher.manifest.space.fingerprint,
    student: nameOf(student),
    texts: hash.digest('hex').slice(0, 16),
    seed,
    steps: plan.steps,
    batch: plan.batch,
    rate: plan.rate,
    loss: describeLoss(plan.loss),
    ...choices,
  };
}
