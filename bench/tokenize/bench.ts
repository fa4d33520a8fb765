import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readWordNet } from '../../cli/sample/wordnet.ts';
import { WordPiece } from '../../towers/lookup/wordpiece.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { Pairs } from '../calls/compare.ts';
import { seeded } from '../load/arrivals.ts';
import { TOWER } from '../qdrant/corpus.ts';
import { PythonPeer } from '../python.ts';
import type { Bench } from '../report.ts';

const TEXTS = 2000;
const WARM_UPS = 3;
const ROUNDS = 15;
const QUICK_ROUNDS = 6;
const QUERY_WORDS = 6;
/** Glosses that make a text of some two hundred tokens. */
const GLOSSES = 12;

/** What tokenising a text takes of CPU, beside the library that models are published with. */
export const bench: Bench = {
  hasQuick: true,
  run: async (progress, _, { quick }) => {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    const tower = await openTower(TOWER);
    const { maxTokens, space } = tower.manifest;
    const tokenizer = join(tower.directory, 'tokenizer.json');
    const words = new WordPiece(readFileSync(tokenizer, 'utf8'), { maxTokens, truncation: space.truncation });
    const peer = await PythonPeer.open('bench/tokenize/tokenizers_peer.py', ['tokenizers'], {
      tokenizer,
      maxTokens,
    });
    const pairs = new Pairs();
    try {
      const glosses = (await readWordNet()).map(({ text }) => text);
      const random = seeded(1);
      const gloss = (): string => glosses[Math.floor(random() * glosses.length)]!;
      // Other texts in each round: our tokenizers remember words.
      const kinds: Record<
        string,
        { makeTexts: () => string[]; tokens: (texts: readonly string[]) => Promise<number> }
      > = {
        'queries, one by one': {
          makeTexts: () => some(TEXTS, () => gloss().split(' ').slice(0, QUERY_WORDS).join(' ')),
          tokens: (texts) => oneByOne(words, texts),
        },
        'texts of documents': {
          makeTexts: () => some(TEXTS / GLOSSES, () => some(GLOSSES, gloss).join(' ')),
          tokens: (texts) => together(tower, texts),
        },
      };
      for (let round = -WARM_UPS; round < rounds; round++) {
        if (round >= 0) progress(`round ${round + 1} of ${rounds}`);
        for (const [what, { makeTexts, tokens }] of Object.entries(kinds)) {
          const texts = makeTexts();
          const before = process.cpuUsage();
          const ours = await tokens(texts);
          const { user, system } = process.cpuUsage(before);
          const theirs = await peer.ask<{ micros: number; tokens: number }>({ texts });
          if (theirs.tokens !== ours) {
            throw new Error(`${what}: ours are ${ours} tokens, those of the peer ${theirs.tokens}`);
          }
          if (round >= 0)
            pairs.add(`CPU of a text: ${what}`, 'µs', (user + system) / texts.length, theirs.micros);
        }
      }
    } finally {
      await peer.close();
      await tower.close();
    }
    return {
      parameters: { tower: TOWER, peer: peer.version, texts: TEXTS, rounds },
      comparisons: pairs.comparisons({}),
      notes: [`peer: ${peer.version} for Python, in one thread`, ...pairs.notes()],
    };
  },
};

function some(count: number, make: () => string): string[] {
  return Array.from({ length: count }, make);
}

/** As a lookup tower's queries are tokenised: in the thread of the caller. */
async function oneByOne(words: WordPiece, texts: readonly string[]): Promise<number> {
  return texts.reduce((sum, text) => sum + words.encode(text).ids.length, 0);
}

/** As passages are tokenised. */
async function together(tower: Tower, texts: readonly string[]): Promise<number> {
  const all = await tower.tokenizeAll(texts);
  return all.reduce((sum, { ids }) => sum + ids.length, 0);
}
