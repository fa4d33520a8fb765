import { documentFilter } from '../filter.ts';
import type { Filter } from '../queries.ts';
import type { FilterRow } from './document-rows.ts';

/** Documents that match a filter, read one after another so that their metadata do not pile up in memory. */
export function* matching(rows: Iterable<FilterRow>, filter: Filter): Generator<FilterRow, void, undefined> {
  const holds = documentFilter(filter);
  for (const row of rows) {
    const { documentId, version } = row;
    if (holds({ documentId, version, metadata: JSON.parse(row.metadata) })) yield row;
  }
}
