import {
  nameOf,
  type TowersPoint,
  type TowersReport,
  type TowersRequest,
} from '../../training/scaling/tower-sweep.ts';
import type { PointSettings } from '../../training/scaling/train-point.ts';
import { table, UsageError } from '../output/print.ts';

/** Flags that belong to `--from-scratch`. */
export interface TowerFlags {
  small?: boolean;
  maxMinutes: number;
  documents: number;
  documentTokens: number;
  queryTokens?: number;
  days: number;
  queryRates: number[];
  entropies?: number[];
}

/** Layers of a base, and numbers of a token between them. */
export interface Shape {
  layers: number;
  width: number;
}

/** Peak learning rate: small towers with random weights take a larger one than a base that has learned. */
export const SCRATCH_RATE = 1e-3;

/** A grid: sizes as shares of the base's layers and of its width, and which pairs of them are trained on how much. */
interface Grid {
  /** Most pairs to train on. */
  data: number;
  sizes: readonly (readonly [layers: number, width: number])[];
  /** Indices of document tower and query tower; those on all of the data are all pairs of sizes. */
  smaller: readonly (readonly [document: number, query: number, share: number])[];
  heldOut: readonly [document: number, query: number, share: number];
}

/** Twins on a half and on a quarter of the data. */
const twins = (count: number): [number, number, number][] =>
  [1 / 2, 1 / 4].flatMap((share) =>
    Array.from({ length: count }, (_, size): [number, number, number] => [size, size, share]),
  );

export const GRIDS: Readonly<Record<'small' | 'full', Grid>> = {
  small: {
    data: 16_384,
    sizes: [
      [1 / 6, 1 / 48],
      [1 / 6, 1 / 16],
      [1 / 6, 1 / 4],
    ],
    smaller: twins(3),
    heldOut: [2, 0, 1 / 2],
  },
  full: {
    data: 65_536,
    sizes: [
      [1 / 6, 1 / 48],
      [1 / 6, 1 / 16],
      [1 / 6, 1 / 4],
      [1 / 3, 1 / 2],
    ],
    smaller: [...twins(4), [3, 0, 1 / 4], [0, 3, 1 / 4]],
    heldOut: [3, 1, 1 / 2],
  },
};

/** What to sweep, of a base of some shape. */
export function towersRequest(
  flags: TowerFlags & Omit<PointSettings, 'rate'> & { rate?: number; data?: number },
  shape: Shape,
): TowersRequest {
  const { small, documents, documentTokens, queryTokens, days, queryRates, rate = SCRATCH_RATE } = flags;
  const { sizes, smaller, heldOut, ...grid } = GRIDS[small === true ? 'small' : 'full'];
  const { data = grid.data } = flags;
  const sizeAt = (index: number) => {
    const [layers, width] = sizes[index]!;
    return {
      layers: Math.max(1, Math.round(layers * shape.layers)),
      width: Math.max(1, Math.round(width * shape.width)),
    };
  };
  const at = ([document, query, share]: readonly [number, number, number]): TowersPoint => ({
    document: sizeAt(document),
    query: sizeAt(query),
    pairs: Math.round(data * share),
  });
  if (new Set(sizes.map((_, index) => JSON.stringify(sizeAt(index)))).size < sizes.length) {
    throw new UsageError(
      `--base has ${shape.layers} layers and a width of ${shape.width}, too few for a family of ${sizes.length} sizes: ` +
        'give a larger one',
    );
  }
  const whole = sizes.flatMap((_, document) => sizes.map((__, query) => at([document, query, 1])));
  return {
    ...flags,
    rate,
    points: [...whole, ...smaller.map(at)],
    heldOut: at(heldOut),
    load: { documents, tokensPerDocument: documentTokens, tokensPerQuery: queryTokens, days },
    rates: queryRates,
  };
}

export function renderTowers(report: TowersReport): string {
  const { points, heldOut, law, weak, load, pairs, choices, operations, seconds } = report;
  const { predicted } = heldOut;
  return [
    table(
      ['document tower', 'query tower', 'N_document', 'N_query', 'pairs', 'entropy', ''],
      [...points, heldOut].map((point) => [
        nameOf(point.document),
        nameOf(point.query),
        point.document.parameters,
        point.query.parameters,
        point.pairs,
        point.entropy.toFixed(4),
        point === heldOut ? 'held out' : '',
      ]),
    ),
    `towers are layers × width; ${operations.toExponential(1)} operations of training in ${(seconds / 60).toFixed(1)} minutes`,
    `${law.form}; R² ${law.r2.toFixed(4)} over ${law.points} points`,
    table(
      ['', 'value', '95 %'],
      Object.entries(law.constants).map(([name, { value, interval }]) => [
        name,
        shown(value),
        between(interval),
      ]),
    ),
    weak.length === 0 ? 'weakly identified: nothing' : 'weakly identified:',
    ...weak.map(({ constants, why }) => `  ${constants.join(' and ')}: ${why}`),
    `held out: ${heldOut.entropy.toFixed(4)}, predicted ${predicted.value.toFixed(4)} ` +
      `(${between(predicted.interval, 4)})${heldOut.within ? '' : ', outside of the interval'}`,
    `cheapest towers for ${load.documents.toLocaleString('en')} documents of ${load.tokensPerDocument} tokens, read once, and ` +
      `queries of ${load.tokensPerQuery.toFixed(1)} tokens for ${load.days} days, by the law at ${pairs.toLocaleString('en')} pairs, ` +
      'among the sizes measured:',
    table(
      [
        'entropy',
        'queries/s',
        'N_document',
        '95 %',
        'N_query',
        '95 %',
        'operations',
        "queries'",
        'of the family',
        '',
      ],
      choices.map(({ entropy, queriesPerSecond, best, family, reached }) => [
        entropy.toFixed(3),
        String(queriesPerSecond),
        ...(best === undefined
          ? ['', '', '', '', '', '']
          : [
              shown(best.document),
              between(best.intervals.document),
              shown(best.query),
              between(best.intervals.query),
              best.operations.toExponential(2),
              `${(100 * best.queryShare).toFixed(0)} %`,
            ]),
        family === undefined ? '' : `${family.document}, ${family.query}`,
        [
          best === undefined
            ? 'the largest towers do not reach it'
            : best.atEnd.map((end) => `${end} measured`).join(', '),
          reached < 1 ? `reached in ${Math.floor(100 * reached)} % of the refits` : '',
        ]
          .filter((each) => each !== '')
          .join('; '),
      ]),
    ),
  ].join('\n');
}

function shown(value: number): string {
  if (Number.isNaN(value)) return 'unknown';
  return value >= 1e4 || (value !== 0 && value < 1e-3) ? value.toExponential(2) : value.toPrecision(3);
}

function between([low, high]: readonly [number, number], digits?: number): string {
  const each = (value: number): string => (digits === undefined ? shown(value) : value.toFixed(digits));
  return `${each(low)} to ${each(high)}`;
}
