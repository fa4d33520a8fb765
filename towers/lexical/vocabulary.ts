import { LANGUAGE_MARK, TITLE_MARK } from './analyser.ts';
import { editDistance, lettersApart, lettersOf } from './distance.ts';

/** A word of a vocabulary that may be meant by what was typed. */
export interface Candidate {
  word: string;
  /** Passages that say it. */
  passages: number;
  /** How much it is to be preferred to others; above 0. */
  score: number;
}

/** A similar word. */
export interface SimilarWord extends Candidate {
  edits: number;
}

/** Share of the passages that a language has at least: fewer are mistaken for it, and are found as they are written. */
const MINORITY = 0.005;

/** How much more a title says of what people look for than a text does. */
const TITLE_FACTOR = 4;

/** Words that begin like another one are looked at for the same stem: no word has more inflections. */
const MAX_FAMILY = 256;

/** A wrong first letter is rare, and swapped letters are common: in edits. */
const FIRST_LETTER = 0.35;
const SAME_LETTERS = 0.25;

/** How many edits a word that is ten times as frequent makes up for. */
const TENFOLD = 0.2;

/** The words of a tenant's passages in a collection, as they were a moment ago. */
export class Vocabulary {
  /** Languages of the documents, the most frequent first, without those of very few. */
  readonly languages: readonly string[];
  /** Sorted. */
  readonly #words: string[] = [];
  readonly #passages: Uint32Array;
  /** Passages whose title says the word. */
  readonly #titles: Uint32Array;
  readonly #letters: Uint32Array;
  /** Places of the words of each length. */
  readonly #byLength = new Map<number, number[]>();

  /** @param counted words, and words and languages with their marks, each once, with the number of passages that have it */
  constructor(counted: Iterable<readonly [word: string, passages: number]>) {
    const languages: [string, number][] = [];
    const titles = new Map<string, number>();
    const passages: (readonly [string, number])[] = [];
    for (const entry of counted) {
      const [word, count] = entry;
      if (word.startsWith(TITLE_MARK)) titles.set(word.slice(1), count);
      else if (word.startsWith(LANGUAGE_MARK)) languages.push([word.slice(1), count]);
      else passages.push(entry);
    }
    passages.sort(([a], [b]) => (a < b ? -1 : 1));
    languages.sort(([a, more], [b, than]) => than - more || (a < b ? -1 : 1));
    const all = languages.reduce((sum, [, count]) => sum + count, 0);
    this.languages = languages.filter(([, count]) => count >= MINORITY * all).map(([language]) => language);
    this.#passages = new Uint32Array(passages.length);
    this.#titles = new Uint32Array(passages.length);
    this.#letters = new Uint32Array(passages.length);
    for (const [place, [word, count]] of passages.entries()) {
      this.#words.push(word);
      this.#passages[place] = count;
      this.#titles[place] = titles.get(word) ?? 0;
      this.#letters[place] = lettersOf(word);
      const same = this.#byLength.get(word.length);
      if (same) same.push(place);
      else this.#byLength.set(word.length, [place]);
    }
  }

  /** As a store counts words. @param words with a line feed between @param passages that have each */
  static ofCounted({ words, passages }: { words: string; passages: Uint32Array }): Vocabulary {
    const all = words === '' ? [] : words.split('\n');
    return new Vocabulary(all.map((word, place) => [word, passages[place]!] as const));
  }

  /** How many words it has. */
  get size(): number {
    return this.#words.length;
  }

  /** Passages that say a word as it is. */
  count(word: string): number {
    const place = this.#place(word);
    return this.#words[place] === word ? this.#passages[place]! : 0;
  }

  /** Whether it has a word, or one with the same stem. @param stem of the words of this language */
  has(word: string, stem: string, stemOf: (word: string) => string): boolean {
    if (this.count(word) > 0 || this.count(stem) > 0) return true;
    // The last letter of a stem is often another one than that of the word: "studi" of "studies" and "study".
    const common = stem.slice(0, Math.max(2, stem.length - 1));
    let place = this.#place(common);
    for (let looked = 0; looked < MAX_FAMILY; looked++, place++) {
      const other = this.#words[place];
      if (other === undefined || !other.startsWith(common)) return false;
      if (other.length <= word.length + 4 && stemOf(other) === stem) return true;
    }
    return false;
  }

  /** Words that begin with a prefix and are longer, the best first. */
  completions(prefix: string, limit: number): Candidate[] {
    const best: Candidate[] = [];
    for (let place = this.#place(prefix); place < this.#words.length; place++) {
      const word = this.#words[place]!;
      if (!word.startsWith(prefix)) break;
      if (word.length === prefix.length) continue;
      offer(best, { word, passages: this.#passages[place]!, score: this.#weight(place) }, limit);
    }
    return best;
  }

  /** Words that differ from another one in at most so many letters, the best first. */
  similar(word: string, most: number, limit: number): SimilarWord[] {
    const best: SimilarWord[] = [];
    const letters = lettersOf(word);
    for (let length = word.length - most; length <= word.length + most; length++) {
      for (const place of this.#byLength.get(length) ?? []) {
        if (lettersApart(this.#letters[place]!, letters) > 2 * most) continue;
        const other = this.#words[place]!;
        const edits = editDistance(word, other, most);
        if (edits > most || edits === 0) continue;
        let cost = edits - TENFOLD * Math.log10(this.#weight(place));
        if (other[0] !== word[0]) cost += FIRST_LETTER;
        if (length === word.length && this.#letters[place] === letters) cost -= SAME_LETTERS;
        offer(best, { word: other, passages: this.#passages[place]!, score: 10 ** -cost, edits }, limit);
      }
    }
    return best;
  }

  #weight(place: number): number {
    return this.#passages[place]! + TITLE_FACTOR * this.#titles[place]!;
  }

  /** Place of the first word that is not before another one. */
  #place(word: string): number {
    let low = 0;
    let high = this.#words.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#words[middle]! < word) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function offer<One extends Candidate>(best: One[], candidate: One, limit: number): void {
  if (best.length === limit && best.at(-1)!.score >= candidate.score) return;
  let place = best.length;
  while (place > 0 && best[place - 1]!.score < candidate.score) place--;
  best.splice(place, 0, candidate);
  if (best.length > limit) best.pop();
}
