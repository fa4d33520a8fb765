import type { KeptPassage, Passage } from './tower.ts';

/** A document as it was cut before. */
export interface CutDocument {
  title: string;
  /** Text of each passage, in order; an empty one is never found again. */
  passages: readonly string[];
}

/** How the parts are cut that stood in no passage before. */
export interface RecutRules {
  /** The rule for new documents. */
  cut: (part: { title: string; text: string }) => AsyncIterable<Passage>;
  /**
   * Characters that are too few for a passage of their own. A new part that is shorter is cut together with a passage
   * beside it, and so is one beside a passage that is shorter: else a text that grows line by line would become a passage
   * for each line.
   */
  fewest: number;
}

/** Characters of a passage that its place in a text is found by; a shorter passage is not looked for. */
const ANCHOR_CHARACTERS = 16;

/**
 * Stretches of a passage of which the rarest becomes its anchor, and about how far apart they begin: at uneven distances,
 * so that not all of them are the same part of a text that repeats a pattern.
 */
const ANCHOR_CHOICES = 16;
const ANCHOR_STEP = 23;

/**
 * Most characters that are compared for each character of the text. Passages of usual texts are compared once, which
 * takes as many as the passages have; in a text that repeats itself every place may be the beginning of a passage. Past
 * this bound the rest is cut anew.
 */
const COMPARED_PER_CHARACTER = 8;

/**
 * Cuts a document so that passages which it had before come back as they are, with their boundaries; only what lies
 * between them is cut by the ordinary rule. What a passage is encoded from (its text, and the title for the first one) is
 * then the same as before, and so is its vector. Yields `undefined` where it has only looked for passages for a while.
 */
export async function* recutPassages(
  document: { title: string; text: string },
  before: CutDocument,
  { cut, fewest }: RecutRules,
): AsyncGenerator<Passage | KeptPassage | undefined, void, undefined> {
  const { title, text } = document;
  let isFirst = true;
  /** Everything before is in a passage. */
  let covered = 0;
  /** Found, and not handed out yet: what follows may have to be cut together with it. */
  let held: Match | undefined;

  async function* cutPart(start: number, end: number): AsyncGenerator<Passage, void, undefined> {
    const part = text.slice(start, end);
    if (part.trim() === '') return;
    for await (const passage of cut({ title: isFirst ? title : '', text: part })) {
      const { span } = passage;
      isFirst = false;
      yield { ...passage, span: { start: start + span.start, end: start + span.end } };
    }
  }
  function* release(): Generator<KeptPassage, void, undefined> {
    if (!held) return;
    const { start, end, index } = held;
    yield { text: text.slice(start, end), span: { start, end }, keeps: index };
    isFirst = false;
    covered = Math.max(covered, end);
    held = undefined;
  }

  for (const { start, indices } of yield* matches(text, before.passages)) {
    const reached = held?.end ?? covered;
    const gap = text.slice(reached, Math.max(reached, start)).trim().length;
    const willBeFirst = isFirst && !held && gap === 0;
    const index = chooseIndex(
      indices,
      held,
      (each) => (each === 0 ? before.title.trim() : '') === (willBeFirst ? title.trim() : ''),
    );
    if (index === undefined) continue;
    const match = { start, end: start + before.passages[index]!.length, index };
    if (!standsWell(text, match, held, reached, before.passages)) continue;
    if (gap > 0) {
      const isAlone = gap >= fewest && (!held || held.end - held.start >= fewest);
      if (isAlone) {
        yield* release();
        yield* cutPart(covered, start);
      } else if (held) {
        yield* cutPart(held.start, start);
      } else {
        // There is nothing before to cut it together with: this passage is given up for it.
        continue;
      }
      covered = start;
    } else {
      yield* release();
    }
    held = match;
  }
  const rest = text.slice(held?.end ?? covered).trim().length;
  const isAlone = rest === 0 || (rest >= fewest && (!held || held.end - held.start >= fewest));
  if (isAlone) yield* release();
  yield* cutPart(held?.start ?? covered, text.length);
  if (isFirst) yield* cut(document);
}

/** A passage from before in the new text. */
interface Match {
  start: number;
  end: number;
  /** Among the passages before. */
  index: number;
}

/** Of passages with the same text, the one that followed the last before, or else the first whose vector will do. */
function chooseIndex(
  indices: readonly number[],
  held: Match | undefined,
  fits: (index: number) => boolean,
): number | undefined {
  const next = held && indices.find((index) => index === held.index + 1 && fits(index));
  return next ?? indices.find(fits);
}

/**
 * Whether a passage may stand here: it does not reach into another one, except into the one that it repeated the end of
 * before, and it begins and ends between words, except where it was cut inside a word before.
 */
function standsWell(
  text: string,
  { start, end, index }: Match,
  held: Match | undefined,
  reached: number,
  passages: readonly string[],
): boolean {
  const follows = held !== undefined && index === held.index + 1 && start > held.start && start <= held.end;
  if (!follows && start < reached) return false;
  if (end <= reached) return false;
  if (!follows && !isBetweenWords(text, start)) return false;
  if (isBetweenWords(text, end)) return true;
  const next = passages[index + 1];
  return next !== undefined && next !== '' && text.startsWith(next, end);
}

/** A letter, digit or mark of a script that puts spaces between words. */
const WORD_CHARACTER = /[\p{L}\p{N}\p{M}_]/u;
const WITHOUT_SPACES = /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff]/;

function isBetweenWords(text: string, at: number): boolean {
  if (at === 0 || at === text.length) return true;
  return !isOfWord(text[at - 1]!) || !isOfWord(text[at]!);
}

function isOfWord(character: string): boolean {
  return WORD_CHARACTER.test(character) && !WITHOUT_SPACES.test(character);
}

/** Multiplier of the rolling hash: odd, with its bits well mixed. */
const FACTOR = 0x9e3779b1 | 0;
/** {@link FACTOR} to the power of {@link ANCHOR_CHARACTERS}: what the first character of a stretch counts in the next. */
const DROP = Array.from({ length: ANCHOR_CHARACTERS }).reduce((power: number) => Math.imul(power, FACTOR), 1);

/** Characters to search in one go: a few milliseconds. */
const BLOCK_CHARACTERS = 64 * 1024;

/** Most places of the table that counts stretches of a text by their hashes: 4 MiB. */
const MOST_COUNTS = 2 ** 20;

/** Passages of one text. */
interface Known {
  text: string;
  /** In order. */
  indices: number[];
  /** Where its anchor begins. */
  offset: number;
}

/**
 * Places in a text where a passage stands, in order of their beginnings, the longest first. They are found by a rolling
 * hash of a few characters of each passage, in time linear in the text.
 */
function* matches(
  text: string,
  passages: readonly string[],
): Generator<undefined, { start: number; indices: readonly number[] }[], undefined> {
  const counts = new Uint32Array(Math.min(MOST_COUNTS, 2 ** Math.ceil(Math.log2(2 * text.length + 2))));
  const mask = counts.length - 1;
  yield* eachStretch(text, (hash) => {
    counts[hash & mask]!++;
    return true;
  });
  const known = anchorsOf(passages, (hash) => counts[hash & mask]!);
  if (known.size === 0) return [];
  // From here on the table says at once that no anchor has such a hash.
  counts.fill(0);
  for (const hash of known.keys()) counts[hash & mask] = 1;
  const found: { start: number; known: Known }[] = [];
  let left = text.length * COMPARED_PER_CHARACTER;
  yield* eachStretch(text, (hash, at) => {
    if (counts[hash & mask] === 0) return true;
    for (const each of known.get(hash) ?? []) {
      const start = at - each.offset;
      left -= each.text.length;
      if (start >= 0 && text.startsWith(each.text, start)) found.push({ start, known: each });
    }
    return left > 0;
  });
  found.sort((a, b) => a.start - b.start || b.known.text.length - a.known.text.length);
  return found.map(({ start, known: { indices } }) => ({ start, indices }));
}

/**
 * Calls with the hash of every stretch of a text that is as long as an anchor, until the call says to stop. Yields after
 * each block.
 */
function* eachStretch(
  text: string,
  call: (hash: number, at: number) => boolean,
): Generator<undefined, void, undefined> {
  const end = text.length - ANCHOR_CHARACTERS + 1;
  for (let from = 0; from < end; from += BLOCK_CHARACTERS) {
    if (from > 0) yield undefined;
    if (!searchBlock(text, from, Math.min(from + BLOCK_CHARACTERS, end), call)) return;
  }
}

/** @returns whether to go on */
function searchBlock(
  text: string,
  from: number,
  to: number,
  call: (hash: number, at: number) => boolean,
): boolean {
  let hash = hashOf(text, from, from + ANCHOR_CHARACTERS);
  for (let at = from; at < to; at++) {
    if (!call(hash, at)) return false;
    // Past the end there is no character, and nobody asks for the hash.
    const grown = (Math.imul(hash, FACTOR) + text.charCodeAt(at + ANCHOR_CHARACTERS)) | 0;
    hash = (grown - Math.imul(DROP, text.charCodeAt(at))) | 0;
  }
  return true;
}

function hashOf(text: string, from: number, to: number): number {
  let hash = 0;
  for (let at = from; at < to; at++) hash = (Math.imul(hash, FACTOR) + text.charCodeAt(at)) | 0;
  return hash;
}

/**
 * Passages by the hash of their anchors. An anchor is the stretch that the text has least often, for many passages may
 * begin alike: lines of a log, items of a list. A passage with a stretch that the text does not have is left out.
 */
function anchorsOf(passages: readonly string[], count: (hash: number) => number): Map<number, Known[]> {
  const byText = new Map<string, Known>();
  const known = new Map<number, Known[]>();
  passages.forEach((text, index) => {
    if (text.length < ANCHOR_CHARACTERS) return;
    const same = byText.get(text);
    if (same) {
      same.indices.push(index);
      return;
    }
    let rarest = 0;
    let least = Number.POSITIVE_INFINITY;
    let offset = 0;
    for (let choice = 0; choice < ANCHOR_CHOICES && least > 0; choice++) {
      const from = choice * (ANCHOR_STEP + choice);
      if (from + ANCHOR_CHARACTERS > text.length) break;
      const hash = hashOf(text, from, from + ANCHOR_CHARACTERS);
      if (count(hash) < least) [rarest, least, offset] = [hash, count(hash), from];
    }
    const each = { text, indices: [index], offset };
    byText.set(text, each);
    if (least === 0) return;
    const others = known.get(rarest);
    if (others) others.push(each);
    else known.set(rarest, [each]);
  });
  return known;
}
