import type { Hit } from '../../proto/generated/scalingnote/v1/Hit.ts';
import type { SearchResponse } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { v1 } from '../../proto/load.ts';
import { toStruct } from '../../proto/struct.ts';
import type { SearchHit } from '../../store/queries.ts';
import { type HitParts, type Shown } from '../../store/shown.ts';
import { doubleSize, fieldSize, writeDouble, writeHead } from './wire.ts';

const generic = v1.QueryService.service.Search.responseSerialize;

/** Numbers of fields: of the hits in an answer, and of the score in a hit. */
const HITS = 1;
const SCORE = 2;

/** What hits show, as it stands in a message. */
const written = new WeakMap<Shown, Buffer>();

/** Towers as they stand in an answer. A service has one, and answers with it every time. */
const towers = new WeakMap<object, Buffer>();

/**
 * A hit of an answer. Where the store knows a hit again, what it shows is made into bytes once: to make them each time takes
 * a third of a search.
 */
export class HitMessage implements Hit {
  readonly documentId: string;
  readonly score: number;
  readonly title: string;
  readonly passage: number;
  readonly text: string;
  readonly version: number;
  declare explanation?: NonNullable<Hit['explanation']>;
  declare snippet?: NonNullable<Hit['snippet']>;
  declare documentText?: string;
  declare documentTextAbsence?: NonNullable<Hit['documentTextAbsence']>;
  declare legs?: NonNullable<Hit['legs']>;
  declare percentile?: number;
  declare rerankScore?: number;
  readonly #metadata: SearchHit['metadata'];
  readonly #shown: Shown | undefined;

  /** @param parts of the hit, where the store has it in parts */
  constructor(hit: SearchHit, omitText: boolean, parts: HitParts | undefined) {
    const { documentId, score, title, passage, text = '', version, metadata } = hit;
    this.documentId = documentId;
    this.score = score;
    this.title = title;
    this.passage = passage;
    this.text = omitText ? '' : text;
    this.version = version;
    this.#metadata = metadata;
    this.#shown = this.text === text ? parts?.shown : undefined;
  }

  get metadata(): Exclude<Hit['metadata'], undefined> {
    return this.#metadata === undefined ? null : toStruct(this.#metadata);
  }

  /** The bytes of the message; `undefined` where the store does not know the hit again. */
  bytes(): Buffer | undefined {
    const shown = this.#shown;
    if (!shown) return undefined;
    let before = written.get(shown);
    if (!before) {
      const { documentId, title, passage, text, metadata, version } = this;
      before = ownCopy(hitBytes({ documentId, title, passage, text, metadata, version }));
      written.set(shown, before);
    }
    const after = this.#besides();
    const size = before.length + doubleSize(this.score) + after.length;
    const bytes = Buffer.allocUnsafe(fieldSize(size));
    let at = writeHead(bytes, 0, HITS, size);
    bytes.set(before, at);
    at = writeDouble(bytes, at + before.length, SCORE, this.score);
    bytes.set(after, at);
    return bytes;
  }

  /** What a search has to ask for. */
  #besides(): Buffer {
    const { explanation, snippet, documentText, documentTextAbsence, legs, percentile, rerankScore } = this;
    const isPlain =
      explanation === undefined &&
      snippet === undefined &&
      documentText === undefined &&
      documentTextAbsence === undefined &&
      legs === undefined &&
      percentile === undefined &&
      rerankScore === undefined;
    if (isPlain) return NOTHING;
    return hitBytes({
      ...(explanation !== undefined && { explanation }),
      ...(snippet !== undefined && { snippet }),
      ...(documentText !== undefined && { documentText }),
      ...(documentTextAbsence !== undefined && { documentTextAbsence }),
      ...(legs !== undefined && { legs }),
      ...(percentile !== undefined && { percentile }),
      ...(rerankScore !== undefined && { rerankScore }),
    });
  }
}

const NOTHING = Buffer.alloc(0);

/** What is kept for long has memory of its own: as a part of Node's pool a few hundred bytes would keep all 8 KiB of it. */
function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}

/** The bytes of an answer of `Search`. Its fields are in no order, which no reader minds. */
export function searchResponseBytes(response: SearchResponse): Buffer {
  const { hits = [], queryTower = null, ...rest } = response;
  const written: Buffer[] = [];
  for (const hit of hits) {
    const bytes = hit instanceof HitMessage ? hit.bytes() : undefined;
    // All or none: hits are in their order.
    if (!bytes) return generic(response);
    written.push(bytes);
  }
  if (queryTower) written.push(towerBytes(queryTower));
  written.push(generic(rest));
  return Buffer.concat(written);
}

/** A hit without the head that an answer puts before it. */
function hitBytes(hit: Hit): Buffer {
  const bytes = generic({ hits: [hit] });
  let head = 1;
  while (bytes[head]! >= 0x80) head++;
  return bytes.subarray(head + 1);
}

function towerBytes(queryTower: NonNullable<SearchResponse['queryTower']>): Buffer {
  let bytes = towers.get(queryTower);
  if (!bytes) {
    bytes = generic({ queryTower });
    towers.set(queryTower, bytes);
  }
  return bytes;
}
