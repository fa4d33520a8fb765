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
  cut: (part: { title: string; text: string }) => Iterable<Passage>;
  /**
   * Characters that are too few for a passage of their own. A new part that is shorter is cut together with a passage
   * beside it, and so is one beside a passage that is shorter: else a text that grows line by line would become a passage
   * for each line.
   */
  fewest: number;
}

/** Characters at the beginning of a passage that its place in a text is found by; a shorter passage is not looked for. */
const ANCHOR_CHARACTERS = 16;

/**
 * Most characters that are compared for each character of the text. Passages of usual texts are compared once, which
 * takes as many as the passages have; in a text that repeats itself every place may be the beginning of a passage. Past
 * this bound the rest is cut anew.
 */
const COMPARED_PER_CHARACTER = 8;

/**
 * Cuts a document so that passages which it had before come back as they are, with their boundaries; only what lies
 * between them is cut by the ordinary rule. What a passage is encoded from (its text, and the title for the first one) is
 * then the same as before, and so is its vector.
 */
export function* recutPassages(
  document: { title: string; text: string },
  before: CutDocument,
  { cut, fewest }: RecutRules,
): Generator<Passage | KeptPassage, void, undefined> {
  const { title, text } = document;
  let isFirst = true;
  /** Everything before is in a passage. */
  let covered = 0;
  /** Found, and not handed out yet: what follows may have to be cut together with it. */
  let held: Match | undefined;

  function* cutPart(start: number, end: number): Generator<Passage, void, undefined> {
    const part = text.slice(start, end);
    if (part.trim() === '') return;
    for (const passage of cut({ title: isFirst ? title : '', text: part })) {
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

  for (const { start, indices } of matches(text, before.passages)) {
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
const FACTOR = 0x9e3779b1;
/** Places of the table that says at once that no passage begins with such a hash. */
const TABLE_MASK = 0xffff;

/** Passages of one text, by index in order. */
interface Group {
  text: string;
  indices: number[];
}

/**
 * Places in a text where a passage stands, in order of their beginnings, with the passages. They are found by a rolling
 * hash over their first characters, in time linear in the text.
 */
function* matches(
  text: string,
  passages: readonly string[],
): Generator<{ start: number; indices: readonly number[] }, void, undefined> {
  const { groups, table } = indexOf(passages);
  let left = text.length * COMPARED_PER_CHARACTER;
  let drop = 1;
  for (let count = 0; count < ANCHOR_CHARACTERS; count++) drop = Math.imul(drop, FACTOR);
  let hash = 0;
  for (let end = 1; end <= text.length; end++) {
    hash = Math.imul(hash, FACTOR) + text.charCodeAt(end - 1);
    if (end > ANCHOR_CHARACTERS) hash -= Math.imul(drop, text.charCodeAt(end - 1 - ANCHOR_CHARACTERS));
    hash |= 0;
    if (end < ANCHOR_CHARACTERS || table[hash & TABLE_MASK] === 0) continue;
    const start = end - ANCHOR_CHARACTERS;
    for (const group of groups.get(hash) ?? []) {
      left -= group.text.length;
      if (left < 0) return;
      if (text.startsWith(group.text, start)) yield { start, indices: group.indices };
    }
  }
}

/** Passages by the hash of their beginning, the longest first. */
function indexOf(passages: readonly string[]): { groups: Map<number, Group[]>; table: Uint8Array } {
  const byText = new Map<string, Group>();
  passages.forEach((text, index) => {
    if (text.length < ANCHOR_CHARACTERS) return;
    const group = byText.get(text);
    if (group) group.indices.push(index);
    else byText.set(text, { text, indices: [index] });
  });
  const groups = new Map<number, Group[]>();
  const table = new Uint8Array(TABLE_MASK + 1);
  for (const group of [...byText.values()].sort((a, b) => b.text.length - a.text.length)) {
    let hash = 0;
    for (let at = 0; at < ANCHOR_CHARACTERS; at++) {
      hash = (Math.imul(hash, FACTOR) + group.text.charCodeAt(at)) | 0;
    }
    groups.set(hash, [...(groups.get(hash) ?? []), group]);
    table[hash & TABLE_MASK] = 1;
  }
  return { groups, table };
}
