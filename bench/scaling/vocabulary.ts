import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadTokenizer } from '../../towers/open.ts';
import type { LocalTower } from '../../towers/pull.ts';

/** The parts of a `tokenizer.json` of WordPiece that are read here. */
interface WordPiece {
  model: { vocab: Record<string, number> };
  added_tokens: { id: number }[];
}

/**
 * A smaller vocabulary of WordPiece, for all students alike: the letters of ASCII, so that every English word can still be
 * spelt, and the tokens that are most frequent in some texts.
 *
 * @param tower - whose tokenizer it is cut from
 * @returns the folder of the tokenizer
 */
export async function cutVocabulary(
  tower: LocalTower,
  texts: readonly string[],
  size: number,
  folder: string,
): Promise<string> {
  const file = JSON.parse(await readFile(join(tower.directory, 'tokenizer.json'), 'utf8')) as WordPiece;
  const tokenizer = await loadTokenizer(tower);
  const counts = new Map<number, number>();
  for (const text of texts) {
    const { ids } = await Promise.resolve(tokenizer.encode(text));
    for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  const whole = Object.entries(file.model.vocab).sort(([, a], [, b]) => a - b);
  // Other parts of the file name special tokens by id: these stay what they are, and so does what lies between them.
  const lastSpecial = Math.max(-1, ...file.added_tokens.map(({ id }) => id));
  const isBasic = ([token, id]: readonly [string, number]): boolean =>
    id <= lastSpecial || /^(?:##)?[!-~]$/.test(token);
  const basic = whole.filter(isBasic);
  const others = whole
    .filter((entry) => !isBasic(entry) && counts.has(entry[1]))
    .sort(([, a], [, b]) => counts.get(b)! - counts.get(a)! || a - b)
    .slice(0, Math.max(0, size - basic.length));
  const kept = [...basic, ...others].map(([token], id) => [token, id] as const);
  const cut = { ...file, model: { ...file.model, vocab: Object.fromEntries(kept) } };
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(cut));
  return folder;
}
