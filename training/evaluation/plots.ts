import { escape } from './html.ts';

/** Size of a plot, and the place of its axes, in pixels. The names of the series are at the right. */
const [WIDTH, HEIGHT] = [860, 360];
const [LEFT, RIGHT, TOP, BOTTOM] = [64, 600, 16, HEIGHT - 44];

/** People who see few colours can tell these apart (Okabe and Ito, 2008). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'] as const;

interface At {
  x: number;
  y: number;
}

interface Interval {
  x: number;
  low: number;
  high: number;
}

/** What has one name and one colour in a plot. */
export interface Series {
  label: string;
  line?: readonly At[];
  dots?: readonly At[];
  interval?: Interval | readonly Interval[] | undefined;
  /** A point that is shown as a ring. */
  ring?: At | undefined;
}

/**
 * Draws series between axes, as SVG.
 * @param titles - of the axes; an axis without a title has no ticks
 * @param options.logarithmic - whether x is. @default false
 * @param options.joined - points that a grey line joins
 */
export function plot(
  series: readonly Series[],
  titles: { x?: string; y: string },
  options: { logarithmic?: boolean; joined?: readonly At[] } = {},
): string {
  const { logarithmic = false, joined = [] } = options;
  const scaled = (x: number): number => (logarithmic ? Math.log10(Math.max(x, Number.MIN_VALUE)) : x);
  const all = series.flatMap(({ line = [], dots = [], interval, ring }) => [
    ...line,
    ...dots,
    ...(ring ? [ring] : []),
    ...endsOf(interval).flat(),
  ]);
  const across = scaleOf(
    all.map(({ x }) => scaled(x)),
    [LEFT, RIGHT],
  );
  const up = scaleOf(
    all.map(({ y }) => y),
    [BOTTOM, TOP],
  );
  const place = ({ x, y }: At): [left: number, top: number] => [across.at(scaled(x)), up.at(y)];
  const polyline = (points: readonly At[], style: string): string =>
    `<polyline points="${points.map(place).join(' ')}" fill="none" ${style}/>`;
  const circle = (point: At, style: string): string => {
    const [left, top] = place(point);
    return `<circle cx="${left}" cy="${top}" r="4" ${style}/>`;
  };
  const drawn = series.flatMap(({ label, line = [], dots = [], interval, ring }, index) => {
    const colour = COLOURS[index % COLOURS.length]!;
    return [
      ...endsOf(interval).map((ends) => polyline(ends, `stroke="${colour}" stroke-width="6" opacity="0.3"`)),
      polyline(line, `stroke="${colour}" stroke-width="1.5"`),
      ...dots.map((dot) => circle(dot, `fill="${colour}"`)),
      ...(ring ? [circle(ring, `fill="none" stroke="${colour}" stroke-width="2"`)] : []),
      words(label, `x="${RIGHT + 16}" y="${TOP + 14 + 16 * index}" style="fill:${colour}"`),
    ];
  });
  const ticks = titles.x === undefined ? [] : across.ticks;
  const columns = ticks.map(
    (tick) =>
      grid([across.at(tick), TOP], [across.at(tick), BOTTOM]) +
      words(compact(logarithmic ? 10 ** tick : tick), middle(across.at(tick), BOTTOM + 16)),
  );
  const rows = up.ticks.map(
    (tick) =>
      grid([LEFT, up.at(tick)], [RIGHT, up.at(tick)]) +
      words(compact(tick), `x="${LEFT - 6}" y="${up.at(tick) + 4}" text-anchor="end"`),
  );
  const turned = `transform="translate(14 ${(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle"`;
  const named = [words(titles.x ?? '', middle((LEFT + RIGHT) / 2, HEIGHT - 8)), words(titles.y, turned)];
  const front = polyline(joined, 'stroke="#888" stroke-dasharray="4 3"');
  const height = Math.max(HEIGHT, TOP + 16 * (series.length + 1));
  return (
    `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">` +
    `${[...columns, ...rows, ...named, front, ...drawn].join('')}</svg>`
  );
}

/** The lower and the upper end of each interval. */
function endsOf(interval: Series['interval']): At[][] {
  return [interval ?? []].flat().map(({ x, low, high }) => [
    { x, y: low },
    { x, y: high },
  ]);
}

/** Values to pixels, and about five ticks at 1, 2 or 5 times a power of ten. */
function scaleOf(values: readonly number[], [from, to]: readonly [from: number, to: number]) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const [start, end] = [low - room, high + room];
  const rough = (end - start) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough)!;
  const first = Math.ceil(start / step);
  const ticks = Array.from({ length: Math.floor(end / step) - first + 1 }, (_, i) => (first + i) * step);
  const at = (value: number): number =>
    Math.round((from + ((value - start) / (end - start)) * (to - from)) * 10) / 10;
  return { at, ticks };
}

function grid([x1, y1]: readonly [number, number], [x2, y2]: readonly [number, number]): string {
  return `<line class="grid" x1="${x1}" x2="${x2}" y1="${y1}" y2="${y2}"/>`;
}

function middle(x: number, y: number): string {
  return `x="${x}" y="${y}" text-anchor="middle"`;
}

function words(text: string, attributes: string): string {
  return `<text ${attributes}>${escape(text)}</text>`;
}

function compact(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 3 });
}
