import type { Logger } from 'pino';
import type { TextAnalysis__Output } from '../../../proto/generated/scalingnote/v1/TextAnalysis.ts';
import type { CollectionKey } from '../../../store/store.ts';
import type { Analyser } from '../../../towers/lexical/analyser.ts';
import {
  type Analysis,
  ANALYSIS_TTL_MS,
  DEFAULT_ANALYSIS,
  languageCode,
  newRecord,
  unstemmedNote,
  writeRecord,
} from '../../../towers/lexical/analysis.ts';
import { analyserOf, analysisMismatch, recordOf } from '../../runtime/analysis.ts';
import { invalidArgument } from '../../runtime/errors.ts';
import { quoted } from '../../runtime/validate.ts';

/** Most collections that are remembered. */
const MAX_COLLECTIONS = 1000;

/** What a stream asks of the collection's analysis; `undefined` where it leaves that to the collection. */
export function readAnalysis(wanted: TextAnalysis__Output | null): Analysis | undefined {
  if (!wanted) return undefined;
  const { language, keepDiacritics } = wanted;
  if (wanted.fingerprint !== '' || wanted.unfinished) {
    throw invalidArgument(
      'begin.analysis',
      'has a fingerprint or is unfinished, which services say; leave them out',
    );
  }
  const code = languageCode(language);
  if (language !== '' && code !== language) {
    const fix = code === undefined ? '"auto", "none" or an ISO 639 code, as "en"' : `"${code}"`;
    throw invalidArgument('begin.analysis.language', `is ${quoted(language)}; send ${fix}`);
  }
  return { language: language || DEFAULT_ANALYSIS.language, keepDiacritics };
}

/** What a collection is made with. */
export function analysisToMake(wanted: Analysis | undefined): string {
  return writeRecord(newRecord(wanted ?? DEFAULT_ANALYSIS));
}

/** @throws {ServiceError} `ANALYSIS_MISMATCH` where a stream wants another analysis than the collection has */
export function checkAnalysis(name: string, { analysis }: CollectionKey, wanted: Analysis | undefined): void {
  if (!wanted) return;
  const has = analysis === undefined ? undefined : recordOf(name, analysis);
  if (has && has.language === wanted.language && has.keepDiacritics === wanted.keepDiacritics) return;
  const says = (one: Analysis): string =>
    `language "${one.language}", diacritics ${one.keepDiacritics ? 'kept' : 'folded'}`;
  throw analysisMismatch(
    name,
    `collection "${name}" is analysed otherwise: ${has ? says(has) : 'words as they are written'}, and the stream wants ` +
      `${says(wanted)}; leave analysis out, or change it with "scalingnote collections reanalyse ${name}"`,
  );
}

/** How the collections are analysed that streams write to. */
export class Analyses {
  readonly #find: (physicalName: string) => Promise<CollectionKey>;
  readonly #log: Logger;
  readonly #known = new Map<string, { analyser: Analyser | undefined; until: number }>();
  readonly #flights = new Map<string, Promise<Analyser | undefined>>();
  readonly #said = new Set<string>();

  constructor(find: (physicalName: string) => Promise<CollectionKey>, log: Logger) {
    this.#find = find;
    this.#log = log;
  }

  /**
   * What analyses the documents of a collection, as of a moment ago.
   *
   * @throws {StoreError} @throws {ServiceError} `ANALYSIS_MISMATCH`
   */
  of(physicalName: string): Promise<Analyser | undefined> {
    const known = this.#known.get(physicalName);
    if (known && known.until > performance.now()) return Promise.resolve(known.analyser);
    const flight = this.#flights.get(physicalName) ?? this.#look(physicalName);
    this.#flights.set(physicalName, flight);
    return flight;
  }

  /** One look for all documents that wait for it; so it goes on where one of them gives up. */
  async #look(physicalName: string): Promise<Analyser | undefined> {
    const now = performance.now();
    const key = await this.#find(physicalName).finally(() => this.#flights.delete(physicalName));
    return this.learn(key, now);
  }

  /** What a collection says of itself now. @throws {ServiceError} `ANALYSIS_MISMATCH` */
  learn({ physicalName, name, analysis }: CollectionKey, now = performance.now()): Analyser | undefined {
    const analyser = analyserOf(name, analysis);
    this.#say(name, analyser);
    if (this.#known.size >= MAX_COLLECTIONS) this.#known.clear();
    this.#known.set(physicalName, { analyser, until: now + ANALYSIS_TTL_MS });
    return analyser;
  }

  /** Says once of a collection what its analysis can't do. */
  #say(collection: string, analyser: Analyser | undefined): void {
    const note = analyser && unstemmedNote(analyser.analysis);
    if (note === undefined || this.#said.has(collection)) return;
    if (this.#said.size >= MAX_COLLECTIONS) this.#said.clear();
    this.#said.add(collection);
    this.#log.warn({ collection }, note);
  }
}
