/** A part of the product whose promises the suite must be able to see broken. */
export interface Area {
  /** Compiled files to break, below `dist/`. */
  sources: readonly string[];
  /** Compiled tests to run for each mutant, the most telling first, below `dist/`. */
  tests: readonly string[];
}

/** The eight areas that a run without a folder covers. */
export const AREAS: Readonly<Record<string, Area>> = {
  batching: {
    sources: ['towers/batching.js'],
    tests: ['towers/batching.test.js', 'towers/encoder.test.js'],
  },
  window: {
    sources: ['services/document/ingest/window.js'],
    tests: [
      'services/document/ingest/stream.test.js',
      'services/document/ingest/versions.test.js',
      'services/document/ingest/writes.test.js',
      'services/document/ingest/faults.test.js',
      'services/document/ingest/backpressure.test.js',
    ],
  },
  'version rule': {
    sources: ['store/versions.js'],
    tests: ['store/embedded/embedded-store.test.js'],
  },
  filters: {
    sources: ['store/filter.js', 'services/runtime/filter.js'],
    tests: ['services/runtime/filter.test.js', 'store/embedded/embedded-store.test.js'],
  },
  gate: { sources: ['services/query/gate.js'], tests: ['services/query/gate.test.js'] },
  retry: {
    sources: ['services/document/ingest/retry.js'],
    tests: ['services/document/ingest/faults.test.js'],
  },
  passages: { sources: ['towers/passages.js'], tests: ['towers/passages.test.js'] },
  losses: {
    sources: ['training/gradient/losses.js'],
    tests: ['training/gradient/operators.test.js'],
  },
};
