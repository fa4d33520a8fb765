import type { Detected } from '../../store/qdrant/adopted/detect.ts';
import type { Mapping } from '../../store/qdrant/adopted/mapping.ts';
import type { Distance } from '../../store/qdrant/adopted/record.ts';
import { BOUNDS } from '../../towers/adopt/cosines.ts';
import type { Explained, Explanation, Verdict } from '../../towers/adopt/explain.ts';
import type { Variant } from '../../towers/adopt/variants.ts';
import { table } from '../output/print.ts';

/** What an adoption looked at, and what came of it. */
export interface AdoptReport {
  /** Name of the collection in Qdrant. */
  collection: string;
  points: number;
  /** Name of the vectors; empty for vectors without a name. */
  vector: string;
  dimensions: number;
  distance: Distance;
  /** Whether all vectors of the sample have unit length. */
  unitLength: boolean;
  /** Absent for a collection of ours. */
  writer?: Detected['writer'];
  mapping?: Mapping;
  tower: string;
  space: string;
  verdict: Verdict;
  /** Searches are refused where the distance ranks otherwise than the cosine. */
  search: boolean;
  own: Explanation;
  best: Explanation;
  /** The best few of all variants that were tried on a few texts. */
  tried: readonly Explanation[];
  /** The tower that explains the vectors best, where this one does not. */
  nearest?: { tower: string; space: string; verdict: Verdict; best: Explanation };
  /** Why, in words. */
  why: string;
  /** What clients call it, once it is adopted. */
  name?: string;
  physicalName?: string;
  /** What was written into Qdrant. */
  written: readonly string[];
  seconds: number;
}

/** How many of the variants are shown. */
const SHOWN_VARIANTS = 5;

/** The parts of a report that come from explaining. */
export function explainedPart({ own, best, tried }: Explained): Pick<AdoptReport, 'own' | 'best' | 'tried'> {
  return { own, best, tried: tried.slice(0, SHOWN_VARIANTS) };
}

/** A report for people. */
export function renderReport(report: AdoptReport): string {
  const { mapping, writer, vector, distance, dimensions, unitLength } = report;
  const name = vector === '' ? 'without a name' : `"${vector}"`;
  const lines = [
    `${report.collection}: about ${report.points} points, vectors ${name} of ${dimensions} dimensions, ${distance}` +
      (unitLength ? '' : ', not of unit length'),
    ...(mapping && writer ? [`payload as ${writer} writes it: ${renderMapping(mapping)}`] : []),
    '',
    `${report.tower} (${report.space}) on ${report.own.cosines.texts} stored texts:`,
    renderCosines(report.own),
  ];
  if (report.best !== report.own) lines.push('', 'best explanation:', renderCosines(report.best));
  if (report.nearest) {
    lines.push(
      '',
      `nearest tower: ${report.nearest.tower} (${report.nearest.space})`,
      renderCosines(report.nearest.best),
    );
  }
  lines.push(
    '',
    `variants of ${report.tower} on ${report.tried[0]?.cosines.texts ?? 0} of the texts:`,
    table(
      ['median', '5 %', 'pooling', 'prompt', 'of'],
      report.tried.map(({ variant, cosines }) => [
        cosines.median.toFixed(4),
        cosines.percentile5.toFixed(4),
        String(variant.pooling),
        promptOf(variant),
        variant.layout,
      ]),
    ),
  );
  lines.push('', report.why, ...report.written.map((one) => `wrote ${one}`));
  return lines.join('\n');
}

/** A variant in words. */
export function describeVariant(variant: Variant): string {
  return `${String(variant.pooling)} pooling, prompt ${promptOf(variant)}, up to ${variant.maxTokens} tokens, of ${variant.layout}`;
}

/** A distribution in one line, and as bars. */
export function renderCosines({ variant, cosines }: Explanation): string {
  const { texts, median, percentile5, below95, histogram } = cosines;
  const most = Math.max(1, ...histogram);
  const bars = histogram.map((count, index) => {
    const bar = '#'.repeat(Math.ceil((BAR_WIDTH * count) / most));
    return `    ${range(index)} ${String(count).padStart(String(texts).length)} ${bar}`.trimEnd();
  });
  return [
    `  ${describeVariant(variant)}`,
    `  cosine: median ${median.toFixed(4)}, 5th percentile ${percentile5.toFixed(4)}, ${percent(below95)} below 0.95`,
    ...bars,
  ].join('\n');
}

/** What stands where in the payload. */
export function renderMapping({ id, title, text, metadata, order }: Mapping): string {
  return [
    `id ${id || '= id of the point'}`,
    `title ${title || '(none)'}`,
    `text ${text}`,
    `metadata ${metadata || '= all other keys'}`,
    ...(order === '' ? [] : [`passages ordered by ${order}`]),
  ].join(', ');
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

const BAR_WIDTH = 40;

function range(index: number): string {
  const [from, to] = [BOUNDS[index]!, BOUNDS[index + 1]!];
  return index === 0 ? `      < ${to.toFixed(3)}` : `${from.toFixed(3)}…${to.toFixed(3)}`;
}

function promptOf({ prompt: { name, text } }: Variant): string {
  return text === '' ? `none` : `${JSON.stringify(text)} (${name})`;
}
