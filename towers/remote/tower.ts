import type { TlsFiles } from '../../calls/outgoing-tls.ts';
import type { BatchingLimits, Lane } from '../batching.ts';
import { Encoder } from '../encoder.ts';
import { TowerError } from '../errors.ts';
import { countedPart, type TokenCount } from '../lookup/counted.ts';
import type { TowerManifest } from '../manifest.ts';
import { type PassageRules, splitPassages } from '../passages.ts';
import { type CutDocument, recutPassages } from '../recut.ts';
import type { BatchStats, Encoding, KeptPassage, Passage, Tokens, Tower } from '../tower.ts';
import {
  CharacterCounter,
  EndpointCounter,
  FileCounter,
  type TextCounter,
  type Tokenizer,
} from './counting.ts';
import { Endpoint, type RemoteWatch } from './endpoint.ts';
import type { RemoteRuntime } from './runtime.ts';
import { RemoteSession } from './session.ts';
import { Spending, type Spent } from './spending.ts';
import { wireOf } from './wires.ts';

/** Inputs that may wait: more than for a model of our own, because more of them are encoded at once. */
const MAX_QUEUE = 4_096;

/** How long a server may take for an input of a health check, and to count tokens. */
const PROBE_TIMEOUT_MS = 10_000;

/** What is encoded to learn whether a server is there. */
const PROBE_TEXT = 'hello';

/** How a remote tower is used. */
export interface RemoteOptions {
  /** Tokens that may be spent before encoding is refused. @default any */
  maxTokensSpent?: number | undefined;
  /** Most requests at once; the tower's manifest may allow fewer. */
  maxConcurrency?: number | undefined;
  watch?: RemoteWatch | undefined;
  /** Files of TLS. @default those that `SCALINGNOTE_REMOTE_CA`, `_CLIENT_CERT` and `_CLIENT_KEY` name */
  tls?: TlsFiles | undefined;
}

/** What it takes to open a remote tower. */
export interface RemoteTowerParts {
  manifest: TowerManifest;
  directory: string;
  runtime: RemoteRuntime;
  /** Loads the tokenizer of the folder, for towers that have one. */
  tokenizer: () => Promise<Tokenizer>;
  batching?: Partial<BatchingLimits> | undefined;
  options?: RemoteOptions | undefined;
}

/** Opens a tower whose model a server runs. The server is not asked: it may be away, and come back. */
export async function openRemoteTower(parts: RemoteTowerParts): Promise<Tower> {
  const { runtime, options = {} } = parts;
  const spending = new Spending(runtime.price, options.maxTokensSpent);
  const endpoint = new Endpoint({
    wire: wireOf({ ...runtime, tls: options.tls }),
    model: runtime.model,
    spending,
    timeoutMs: runtime.timeoutMs,
    maxConcurrency: Math.min(
      ...[runtime.maxConcurrency, options.maxConcurrency].map((most) => most ?? Infinity),
    ),
    watch: options.watch,
  });
  const counter = await counterOf(parts, endpoint);
  return new RemoteTower(parts, { endpoint, spending, counter });
}

async function counterOf(
  { manifest, runtime, tokenizer }: RemoteTowerParts,
  endpoint: Endpoint,
): Promise<TextCounter> {
  const { maxTokens } = manifest;
  switch (runtime.tokenizerKind) {
    case 'files':
      return new FileCounter(await tokenizer());
    case 'endpoint':
      return new EndpointCounter(maxTokens, runtime.extraTokens ?? 0, async (text) => {
        const count = await endpoint.wire.count(text, AbortSignal.timeout(PROBE_TIMEOUT_MS));
        if (count !== undefined) return count;
        throw new TowerError('ENDPOINT_UNAVAILABLE', `${endpoint.wire.where} does not count tokens any more`);
      });
    case 'characters':
      return new CharacterCounter(maxTokens);
  }
}

class RemoteTower implements Tower {
  readonly manifest: TowerManifest;
  readonly directory: string;
  readonly device = 'remote';
  readonly #endpoint: Endpoint;
  readonly #spending: Spending;
  readonly #counter: TextCounter;
  readonly #encoder: Encoder;

  constructor(
    { manifest, directory, runtime, batching }: RemoteTowerParts,
    { endpoint, spending, counter }: { endpoint: Endpoint; spending: Spending; counter: TextCounter },
  ) {
    this.manifest = manifest;
    this.directory = directory;
    this.#endpoint = endpoint;
    this.#spending = spending;
    this.#counter = counter;
    const session = new RemoteSession(endpoint, {
      runtime,
      dimensions: manifest.dimensions,
      normalize: manifest.normalize,
    });
    const limits = { maxBatchTokens: session.maxTokens, maxWaitMs: 0, maxQueue: MAX_QUEUE, ...batching };
    this.#encoder = new Encoder(session, manifest.dimensions, limits);
  }

  get spent(): Spent {
    return this.#spending.spent;
  }

  async tokenize(text: string, { prompt = this.manifest.prompt }: { prompt?: string } = {}): Promise<Tokens> {
    return this.#counter.encode((prompt + text).toWellFormed());
  }

  async countTokens(
    text: string,
    { prompt = this.manifest.prompt }: { prompt?: string } = {},
  ): Promise<TokenCount> {
    const { part, atLeast } = countedPart((prompt + text).toWellFormed(), this.manifest.space.truncation);
    const special = this.manifest.maxTokens - this.#counter.room;
    return { tokens: (await this.#counter.count(part)) + special, atLeast };
  }

  async tokenizeAll(texts: readonly string[], options?: { prompt?: string }): Promise<Tokens[]> {
    const all: Tokens[] = [];
    for (const text of texts) all.push(await this.tokenize(text, options));
    return all;
  }

  async passages(document: { title: string; text: string }): Promise<Passage[]> {
    const all: Passage[] = [];
    for await (const passage of this.eachPassage(document)) all.push(passage);
    return all;
  }

  async *eachPassage(document: { title: string; text: string }): AsyncGenerator<Passage, void, undefined> {
    yield* splitPassages(document, await this.#rules());
  }

  async *recut(
    document: { title: string; text: string },
    before: CutDocument,
  ): AsyncGenerator<Passage | KeptPassage | undefined, void, undefined> {
    const rules = await this.#rules();
    yield* recutPassages(document, before, {
      cut: (part) => splitPassages(part, rules),
      // A token has about four letters: this is a quarter of a window.
      fewest: rules.window,
    });
  }

  async #rules(): Promise<PassageRules> {
    const { prompt, maxTokens, space } = this.manifest;
    const room = this.#counter.room - (await this.#counter.count(prompt));
    const window = Math.max(1, Math.min(space.passageWindow.tokens, room));
    return {
      window,
      overlap: space.passageWindow.overlap,
      count: (text) => this.#counter.count(text),
      encode: (text) => this.#counter.encode((prompt + text).toWellFormed()),
      limit: maxTokens - room + window,
    };
  }

  encode(tokens: Tokens, options?: { signal?: AbortSignal; lane?: Lane }): Promise<Encoding> {
    return this.#encoder.encode(tokens, options);
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

  /** Asks the server only where the last answer was none: a check that costs tokens is not made while others succeed. */
  async probe({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    if (this.#endpoint.state === 'well') return;
    const { ids, text = PROBE_TEXT } = await new CharacterCounter(this.manifest.maxTokens).encode(PROBE_TEXT);
    const timeout = AbortSignal.timeout(PROBE_TIMEOUT_MS);
    await this.#endpoint.embed([text], ids.length, {
      once: true,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  }

  close(): Promise<void> {
    return this.#encoder.close();
  }
}
