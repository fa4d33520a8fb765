import { Command } from 'commander';
import { DocumentClient, type FullDocument } from '../../clients/index.ts';
import { withDocumentAddress } from '../connection.ts';
import { CliError, printable, printResult, style } from '../output/print.ts';
import { toRecord } from '../output/records.ts';
import { SAMPLE_COLLECTION } from '../sample/wordnet.ts';

interface Flags {
  collection: string;
  tenant: string;
  vectors?: boolean;
  json?: boolean;
  documentAddress: string;
}

/** `scalingnote get ID...` */
export const get = withDocumentAddress(new Command('get'))
  .description('print documents as they came')
  .argument('<id...>', 'ids of documents')
  .option('-c, --collection <name>', 'name of the collection', SAMPLE_COLLECTION)
  .option('--tenant <tenant>', 'tenant that owns the documents; empty for none', '')
  .option('--vectors', 'also the passages with their vectors and terms')
  .action(async (ids: string[], flags: Flags) => {
    const { collection, tenant, vectors = false } = flags;
    using client = new DocumentClient({ address: flags.documentAddress });
    const documents = await client.getDocuments({ collection, tenant, ids, withVectors: vectors });
    const found = new Set(documents.map(({ id }) => id));
    const missing = ids.filter((id) => !found.has(id));
    const records = documents.map((document) => ({
      ...toRecord(document, { vectors }),
      ...(document.missingText !== undefined && { missing_text: document.missingText }),
    }));
    printResult(flags, { documents: records, missing }, () =>
      documents.map((document, index) => render(document, records[index]?.passages)).join('\n\n'),
    );
    if (missing.length > 0) {
      const named = missing.map((id) => JSON.stringify(id)).join(', ');
      throw new CliError(`not in "${collection}": ${named}`);
    }
  });

/** A document for people: head, metadata, text, and a line for each passage where vectors were asked for. */
function render(
  { id, title, version, expiresAt, metadata, text, missingText, passages }: FullDocument,
  vectors: readonly { vector: readonly number[] }[] = [],
): string {
  const facts = [`version ${version}`, `${passages.length} passages`];
  if (expiresAt) facts.push(`expires ${expiresAt.toISOString()}`);
  const missing = { omitted: '(text kept out of the store)', unknown: '(text stored as passages alone)' };
  return [
    `${style('bold', printable(id))}  ${style('dim', facts.join(', '))}`,
    ...(title === '' ? [] : [printable(title)]),
    ...(Object.keys(metadata).length === 0 ? [] : [JSON.stringify(metadata)]),
    missingText === undefined ? printable(text ?? '') : style('dim', missing[missingText]),
    ...vectors.map(({ vector }, index) => `passage ${index}: ${JSON.stringify(vector)}`),
  ].join('\n');
}
