import type { Tokens, Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import type { CorpusDocument } from '../texts.ts';
import { encodeToFile, type CacheSettings } from '../vectors.ts';
import type { TrainingData } from './data.ts';

/**
 * Adds vectors of the documents that the texts are from: of each document's first passage, as the document tower reads it.
 *
 * @throws {TrainingError} `TEXTS_INVALID` where documents are gone that there are texts of
 */
export async function withDocuments(
  data: TrainingData,
  tower: Tower,
  documents: AsyncIterable<CorpusDocument>,
  settings: CacheSettings,
): Promise<TrainingData> {
  const wanted = new Set(data.groups);
  const rows = new Map<number, number>();
  const inputs: Tokens[] = [];
  let group = -1;
  for await (const document of documents) {
    group++;
    if (!wanted.has(group)) continue;
    const { value: first } = await tower.eachPassage(document).next();
    if (!first) continue;
    rows.set(group, inputs.length);
    inputs.push(first.tokens);
  }
  const groups = data.groups.map((each) => {
    const row = rows.get(each);
    if (row === undefined)
      throw new TrainingError('TEXTS_INVALID', 'the documents changed while they were read');
    return row;
  });
  return { ...data, groups, documents: await encodeToFile(tower, inputs, settings) };
}
