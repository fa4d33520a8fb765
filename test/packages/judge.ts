import assert from 'node:assert/strict';
import { gzipSync } from 'node:zlib';

/** What `programs/program.ts` must see, wherever it runs. */
const EXPECTED = {
  indexed: 2,
  found: [{ id: 'astronomer', title: 'Astronomer', metadata: { legs: 2 } }],
  widths: [4, 4],
  typed: ['astronomer', 'star'],
  refusals: [
    { code: 'INVALID_ARGUMENT', reason: 'INVALID_ARGUMENT', fields: ['adress'] },
    { code: 'INVALID_ARGUMENT', reason: 'INVALID_ARGUMENT', fields: ['treshold'] },
    { code: 'NOT_FOUND', reason: 'COLLECTION_NOT_FOUND', fields: [] },
  ],
};

/** Numbers that the shipped lookup tower gives. */
const LOOKUP_WIDTH = 384;

/** The largest browser bundle, in bytes, gzipped. */
const MAX_WEB_GZIPPED = 30 * 1024;

/** @throws {Error} where a program saw anything else */
export function judge(report: unknown): void {
  assert.deepEqual(report, EXPECTED);
}

/** The same for `programs/web.ts`. */
export function judgeWeb({ refused, ...report }: Record<string, unknown>): void {
  assert.match(String(refused), /treshold/);
  assert.deepEqual(report, { found: ['astronomer', 'star'], gone: 'not_found', width: LOOKUP_WIDTH });
}

/** @returns bytes gzipped @throws {Error} for a browser bundle that asks for modules, or is too large */
export function judgeBundle(code: string): number {
  const imports = /\b(?:require\(|import\(|import\s*|from\s*)["'](?:node:|\w)/.exec(code)?.[0];
  assert.equal(imports, undefined);
  const bytes = gzipSync(code).length;
  assert.ok(bytes <= MAX_WEB_GZIPPED, `${bytes} bytes gzipped, over ${MAX_WEB_GZIPPED}`);
  return bytes;
}
