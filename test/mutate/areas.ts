/** A part of the product whose promises the suite must be able to see broken. */
export interface Area {
  /** Compiled files to break, below `dist/`. */
  sources: readonly string[];
  /** Compiled tests to run for each mutant, below `dist/`: the fastest and most telling first. */
  tests: readonly string[];
}

const INGEST = 'services/document/ingest';

/** The eight areas that a run without a path covers. */
export const AREAS: Readonly<Record<string, Area>> = {
  batching: {
    sources: ['towers/batching.js'],
    tests: ['towers/batching.test.js', 'towers/encoder.test.js'],
  },
  window: {
    sources: ['window', 'vector-maker', 'lookup-queue', 'write-queue'].map((name) => `${INGEST}/${name}.js`),
    tests: [
      `${INGEST}/window.test.js`,
      `${INGEST}/stream.test.js`,
      `${INGEST}/versions.test.js`,
      `${INGEST}/faults.test.js`,
      'test/simulate/seeds.test.js',
      `${INGEST}/writes.test.js`,
    ],
  },
  'version rule': {
    sources: ['store/versions.js'],
    tests: ['store/versions.test.js', 'store/testing/memory-store.test.js'],
  },
  filters: {
    sources: ['store/filter.js', 'services/runtime/filter.js'],
    tests: [
      'store/filter.test.js',
      'services/runtime/filter.test.js',
      'store/testing/memory-store.test.js',
      'store/embedded/embedded-store.test.js',
    ],
  },
  gate: {
    sources: ['services/query/gate.js', 'services/query/search-durations.js'],
    tests: ['services/query/search-durations.test.js', 'services/query/gate.test.js'],
  },
  retry: {
    sources: [`${INGEST}/retry.js`, `${INGEST}/patient-store.js`, 'calls/backoff.js'],
    tests: [
      'calls/backoff.test.js',
      `${INGEST}/patient-store.test.js`,
      `${INGEST}/faults.test.js`,
      'test/simulate/seeds.test.js',
    ],
  },
  passages: {
    sources: ['towers/passages.js'],
    tests: ['towers/passages.test.js', 'towers/passages-size.test.js'],
  },
  losses: {
    sources: ['training/gradient/losses.js'],
    tests: [
      'training/gradient/losses.test.js',
      'training/distill/reference.test.js',
      'training/stage1/reference.test.js',
      'training/lookup/reference.test.js',
      'training/gradient/operators.test.js',
    ],
  },
};
