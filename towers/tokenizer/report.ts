import { hash } from 'node:crypto';
import { TowerError } from '../errors.ts';
import { nativeTokenizer } from './native.ts';
import { probesOf } from './probes.ts';
import { TextTokenizer } from './tokenizer.ts';

/** How the ids of a tower compare with those of the reference. */
export interface TokenizerReport {
  /** What makes the ids. */
  implementation: 'native';
  /** Texts that were compared. */
  probes: number;
  /** Texts whose ids differ. */
  differing: number;
}

/** Probes that are with the tokenizer at a time. */
const AT_ONCE = 256;

/** Reports by sha256 of the file: it says the same whenever it is asked. */
const known = new Map<string, TokenizerReport>();

/**
 * Compares the ids that a tower would get, as queries and passages get them, with those of the reference for each probe:
 * first when no word is known, then when all are.
 *
 * @param file text of `tokenizer.json`
 * @param where names it in errors
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` where any differ, with one of them
 */
export async function tokenizerReport(file: string, where: string): Promise<TokenizerReport> {
  const key = hash('sha256', file);
  const before = known.get(key);
  if (before !== undefined) return before;
  const probes = probesOf(JSON.parse(file) as object);
  const reference = await nativeTokenizer(file);
  const served = await TextTokenizer.load(file, { maxTokens: 1_000_000, truncation: 'right' });
  const differing = new Set<string>();
  for (let from = 0; from < probes.length; from += AT_ONCE) {
    const some = probes.slice(from, from + AT_ONCE);
    const stated = await reference.idsOfAll(some, true);
    for (let time = 0; time < (served.keepsWords ? 2 : 1); time++) {
      const made = await Promise.all(some.map(async (text) => served.encode(text)));
      for (const [index, { ids }] of made.entries()) {
        if (ids.join() !== stated[index]!.join()) differing.add(some[index]!);
      }
    }
  }
  if (differing.size > 0) {
    const [example] = differing;
    throw new TowerError(
      'TOWER_MODEL_UNSUPPORTED',
      `${where}: ${differing.size} of ${probes.length} texts become other tokens than with the reference tokenizer, such as ` +
        `${JSON.stringify(example!.slice(0, 80))}; this is a fault of scalingnote: please report it with tokenizer.json`,
    );
  }
  const report: TokenizerReport = { implementation: 'native', probes: probes.length, differing: 0 };
  known.set(key, report);
  return report;
}
