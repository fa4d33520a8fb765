import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { TowerError } from '../errors.ts';
import { WorkerSession } from '../session/host.ts';
import type { Session, TokenBatch } from '../session/protocol.ts';
import { TextTokenizer } from '../tokenizer/tokenizer.ts';
import { type PairForm, pairFormOf } from './pairs.ts';
import type { Reranker, RerankerOptions } from './reranker.ts';

/** Longest input where the model's config.json does not say. */
const DEFAULT_MAX_TOKENS = 512;

/** Pairs of one run: little enough that a search that gives up does not wait long. */
const PAIRS_PER_RUN = 8;

/** The part of the input that a query may have. */
const QUERY_SHARE = 0.5;

/** A cross-encoder in a thread of its own, from the folder of an ONNX export. */
export class CrossEncoder implements Reranker {
  readonly name: string;
  readonly #tokenizer: TextTokenizer;
  readonly #form: PairForm;
  readonly #session: Session;
  readonly #maxTokens: number;
  /** Runs one after the other: each uses all threads that it may. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    name: string,
    parts: { tokenizer: TextTokenizer; form: PairForm; session: Session; maxTokens: number },
  ) {
    this.name = name;
    this.#tokenizer = parts.tokenizer;
    this.#form = parts.form;
    this.#session = parts.session;
    this.#maxTokens = parts.maxTokens;
  }

  /** @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` */
  static async open(directory: string, { log, threads = 0 }: RerankerOptions): Promise<CrossEncoder> {
    const path = [join(directory, 'model.onnx'), join(directory, 'onnx', 'model.onnx')].find(existsSync);
    if (path === undefined) throw unsupported(`${directory} has neither model.onnx nor onnx/model.onnx`);
    const file = await readFile(join(directory, 'tokenizer.json'), 'utf8');
    const maxTokens = await maxTokensOf(directory);
    const form = pairFormOf(file);
    const tokenizer = await TextTokenizer.load(file, { maxTokens, truncation: 'right' });
    const model = { path, device: 'cpu', threads, pooling: 'cls' as const, normalize: false };
    const session = await WorkerSession.start(model, log);
    const encoder = new CrossEncoder(basename(directory), { tokenizer, form, session, maxTokens });
    try {
      await encoder.score('a', ['a'], new AbortController().signal);
    } catch (error) {
      await encoder.close();
      throw error;
    }
    return encoder;
  }

  async score(query: string, texts: readonly string[], signal: AbortSignal): Promise<number[]> {
    const { before, between, after } = this.#form;
    const room = this.#maxTokens - before.length - between.length - after.length;
    const asked = (await this.#tokenizer.ids(query)).slice(0, Math.floor(QUERY_SHARE * room));
    const scores: number[] = [];
    for (let start = 0; start < texts.length; start += PAIRS_PER_RUN) {
      const pairs: number[][] = [];
      for (const text of texts.slice(start, start + PAIRS_PER_RUN)) {
        const ids = (await this.#tokenizer.ids(text)).slice(0, room - asked.length);
        pairs.push([...before, ...asked, ...between, ...ids, ...after]);
      }
      signal.throwIfAborted();
      scores.push(...(await this.#run(pairs, before.length + asked.length + between.length)));
    }
    signal.throwIfAborted();
    return scores;
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  async #run(pairs: readonly number[][], second: number): Promise<number[]> {
    const batch: TokenBatch = {
      ids: Int32Array.from(pairs.flat()),
      lengths: Int32Array.from(pairs, ({ length }) => length),
      ...(this.#form.hasSegments && { second }),
    };
    const run = this.#last.then(() => this.#session.run(batch));
    this.#last = run.catch(() => {});
    const scores = await run;
    if (scores.length !== pairs.length) {
      throw unsupported(
        `it gives ${scores.length / pairs.length} numbers for a pair; a cross-encoder with one score is understood`,
      );
    }
    return [...scores];
  }
}

async function maxTokensOf(directory: string): Promise<number> {
  const file = join(directory, 'config.json');
  if (!existsSync(file)) return DEFAULT_MAX_TOKENS;
  const config = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  const { max_position_embeddings: most, model_type: type } = config;
  if (typeof most !== 'number' || most < 8) return DEFAULT_MAX_TOKENS;
  // The positions of RoBERTa's family begin after that of its padding.
  const own = typeof type === 'string' && /roberta|camembert/.test(type) ? most - 2 : most;
  return Math.min(own, DEFAULT_MAX_TOKENS);
}

function unsupported(message: string): TowerError {
  return new TowerError('TOWER_MODEL_UNSUPPORTED', `the reranker can't be used: ${message}`);
}
