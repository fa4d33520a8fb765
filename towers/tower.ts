import type { Lane } from './batching.ts';
import type { TokenCount } from './lookup/counted.ts';
import type { TowerManifest } from './manifest.ts';
import type { CutDocument } from './recut.ts';
import type { Spent } from './remote/spending.ts';

/** A text as token ids, prompt and special tokens included, not longer than the tower's `maxTokens`. */
export interface Tokens {
  /** Of a tower that does not have its model's tokenizer: stand-ins, of which only the number counts. */
  ids: readonly number[];
  /** What is encoded where the model runs elsewhere and takes text: the prompt and the text, cut. */
  text?: string;
  /** Whether the text was longer and has been cut. */
  truncated: boolean;
  /** How many tokens at the start are read and not pooled: those of the prompt, where the tower leaves them out. */
  unpooled?: number;
}

/** A stretch of a document, ready to encode. */
export interface Passage {
  /** The stretch as it stands in the document; the title is not part of it. */
  text: string;
  /** Where it lies in the document's text. */
  span: Span;
  /** Prompt, title (in the first passage) and text as token ids. */
  tokens: Tokens;
}

/** Where a stretch lies in a text: from `start` up to `end`, in UTF-16 code units. */
export interface Span {
  start: number;
  end: number;
}

/** A stretch of a document that was a passage of it before: its vector is known. */
export interface KeptPassage {
  text: string;
  span: Span;
  /** Index of the passage before. */
  keeps: number;
}

/** A vector and what it took. */
export interface Encoding {
  /** As many components as the space has dimensions; unit length where the manifest says `normalize`. */
  vector: Float32Array;
  /** Waiting for a place in a batch, in milliseconds. */
  queueMs: number;
  /** The run of the batch, in milliseconds. */
  encodeMs: number;
  /** The run: the same object for all inputs that shared it. */
  batch: BatchStats;
}

/** One run of the model, for metrics and traces. */
export interface BatchStats {
  /** As of `performance.now()`. */
  startedAt: number;
  /** Inputs in the batch. */
  size: number;
  /** Tokens, without padding. */
  tokens: number;
  /** Share of the positions that are padding, 0 to 1. */
  paddingRatio: number;
  encodeMs: number;
}

/** A model that maps text to vectors of one space. */
export interface Tower {
  readonly manifest: TowerManifest;
  /** Directory that it was loaded from. */
  readonly directory: string;
  /** Where it runs: `cpu`, `cuda:0`, ... */
  readonly device: string;

  /** Token ids of a query, or of a document short enough to be one passage: prompt before, too long cut. */
  tokenize(text: string, options?: { prompt?: string }): Promise<Tokens>;

  /** How many tokens a text has that {@link tokenize} cuts: counted up to a bound. */
  countTokens(text: string, options?: { prompt?: string }): Promise<TokenCount>;

  /** {@link tokenize} of many texts, in order. */
  tokenizeAll(texts: readonly string[], options?: { prompt?: string }): Promise<Tokens[]>;

  /**
   * Splits a document into passages after the space's window: at sentence ends where possible, at words where a
   * sentence is longer than a window. A document whose text is empty is one passage of its title.
   */
  passages(document: { title: string; text: string }): Promise<Passage[]>;

  /**
   * The same passages one by one, each split off when it is asked for: a megabyte takes about a second, and a server
   * can do other work between two of them.
   */
  eachPassage(document: { title: string; text: string }): AsyncGenerator<Passage, void, undefined>;

  /**
   * Passages of a document that was cut before, and has changed: those that still stand in it come back as they were,
   * and only what lies between them is cut anew. One by one, as {@link eachPassage}; `undefined` where there is none yet,
   * so that a server can do other work while a long text is searched.
   */
  recut(
    document: { title: string; text: string },
    before: CutDocument,
  ): AsyncGenerator<Passage | KeptPassage | undefined, void, undefined>;

  /**
   * Encodes, together with whatever else is waiting: inputs are batched by token budget, sorted by length, and lanes
   * take turns.
   *
   * @throws {TowerError} `ENCODER_OVERLOADED` where the queue is full, `ENCODER_CLOSED` after close
   */
  encode(tokens: Tokens, options?: { signal?: AbortSignal; lane?: Lane }): Promise<Encoding>;

  /**
   * Tokens and vector of a query at once, where both take microseconds together: of a lookup that needs no model, for a
   * text that is neither long nor cut. `undefined` where it would take longer, or can't be done so: then {@link tokenize} and
   * {@link encode} do it.
   *
   * @throws {TowerError} `ENCODER_CLOSED`, `ENCODER_FAILED`
   */
  encodeNow?(text: string, options?: { prompt?: string }): { tokens: Tokens; encoding: Encoding } | undefined;

  /** Encodes many texts, for programs that do nothing else: bounded memory, in order. Rows of `dimensions`. */
  encodeAll(
    inputs: readonly Tokens[],
    options?: { signal?: AbortSignal | undefined; onProgress?: (done: number) => void },
  ): Promise<Float32Array>;

  /** Called after each run of the model. */
  onBatch(listener: (stats: BatchStats) => void): void;

  /** Of a remote tower: tokens and money that it has cost since it was opened. */
  readonly spent?: Spent;

  /**
   * Of a remote tower: resolves where the server that runs the model answers. It is asked only where that is in doubt.
   *
   * @throws {TowerError} `ENDPOINT_UNAVAILABLE`, `ENDPOINT_REFUSED`, `ENDPOINT_ANSWER_INVALID`, `SPENDING_LIMIT_REACHED`
   */
  probe?(options?: { signal?: AbortSignal }): Promise<void>;

  /** Waits for what is running, refuses what is waiting, frees the model. */
  close(): Promise<void>;
}
