/** Size of a plot, and the room around what is drawn, in pixels. */
const [WIDTH, HEIGHT] = [720, 360];
const MARGIN = { left: 64, right: 16, top: 16, bottom: 44 };

/** Height of a line of a range plot. */
const ROW_HEIGHT = 26;

/** Room for names at the left of a range plot. */
const NAME_WIDTH = 220;

/** Points of a curve that is drawn. */
const CURVE_POINTS = 60;

/** Told apart by people who see few colours (Okabe and Ito, 2008). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];

/** What the axes say. */
export interface AxisLabels {
  x: string;
  y: string;
}

/** Text as HTML. */
export function escape(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replaceAll(/[&<>"']/g, (character) => entities[character]!);
}

/** Points with names, over a logarithmic x; marked ones are joined. */
export function scatterPlot(
  points: readonly { label: string; x: number; y: number; marked: boolean }[],
  labels: AxisLabels,
): string {
  const x = scaleOf(
    points.map((point) => Math.log10(Math.max(point.x, Number.MIN_VALUE))),
    [MARGIN.left, WIDTH - MARGIN.right],
  );
  const y = scaleOf(
    points.map((point) => point.y),
    [HEIGHT - MARGIN.bottom, MARGIN.top],
  );
  const at = (point: { x: number; y: number }): string => `${x.at(Math.log10(point.x))},${y.at(point.y)}`;
  const front = points.filter(({ marked }) => marked).sort((a, b) => a.x - b.x);
  const marks = points.map((point, index) => {
    const [left, top] = at(point).split(',').map(Number) as [number, number];
    const anchor = left > WIDTH / 2 ? 'end' : 'start';
    const shift = anchor === 'end' ? -8 : 8;
    return (
      `<circle cx="${left}" cy="${top}" r="${point.marked ? 6 : 4}" fill="${colourOf(index)}"/>` +
      `<text x="${left + shift}" y="${top + 14}" text-anchor="${anchor}">${escape(point.label)}</text>`
    );
  });
  const line = `<polyline points="${front.map(at).join(' ')}" fill="none" stroke="#888" stroke-dasharray="4 3"/>`;
  return plot(`${axes(x, y, labels, (value) => compact(10 ** value))}${line}${marks.join('')}`, HEIGHT);
}

/** Lines with names. */
export function linePlot(
  lines: readonly { label: string; points: readonly (readonly [x: number, y: number])[] }[],
  labels: AxisLabels,
): string {
  const all = lines.flatMap(({ points }) => points);
  const x = scaleOf(
    all.map(([value]) => value),
    [MARGIN.left, WIDTH - MARGIN.right],
  );
  const y = scaleOf(
    all.map(([, value]) => value),
    [HEIGHT - MARGIN.bottom, MARGIN.top],
  );
  const drawn = lines.map(({ label, points }, index) => {
    const path = points.map(([a, b]) => `${x.at(a)},${y.at(b)}`).join(' ');
    const top = HEIGHT - MARGIN.bottom - 12 - 16 * (lines.length - 1 - index);
    return (
      `<polyline points="${path}" fill="none" stroke="${colourOf(index)}" stroke-width="2"/>` +
      `<text x="${WIDTH - MARGIN.right}" y="${top}" text-anchor="end" style="fill:${colourOf(index)}">${escape(label)}</text>`
    );
  });
  return plot(`${axes(x, y, labels, compact)}${drawn.join('')}`, HEIGHT);
}

/** Points with the curve that was fitted to them. */
export interface FittedSeries {
  label: string;
  points: readonly { x: number; y: number }[];
  curve: (x: number) => number;
  /** A point that the fit has not seen, and the interval that it predicts. */
  hidden?: { x: number; y: number; low: number; high: number } | undefined;
}

/** Fitted curves over a logarithmic x, with a ring for each point that was hidden from the fit. */
export function fitPlot(series: readonly FittedSeries[], labels: AxisLabels): string {
  const hidden = series.flatMap((each) => (each.hidden === undefined ? [] : [each.hidden]));
  const points = series.flatMap((each) => each.points);
  const x = scaleOf(
    [...points, ...hidden].map((point) => Math.log10(point.x)),
    [MARGIN.left, WIDTH - MARGIN.right],
  );
  const y = scaleOf(
    [...points.map((point) => point.y), ...hidden.flatMap(({ low, high }) => [low, high])],
    [HEIGHT - MARGIN.bottom, MARGIN.top],
  );
  const [first, last] = [Math.min(...points.map((p) => p.x)), Math.max(...points.map((p) => p.x))];
  const at = (point: { x: number; y: number }): string => `${x.at(Math.log10(point.x))},${y.at(point.y)}`;
  const drawn = series.map((each, index) => {
    const colour = colourOf(index);
    const path = Array.from({ length: CURVE_POINTS }, (_, k) => {
      const value = first * (last / first) ** (k / (CURVE_POINTS - 1));
      return at({ x: value, y: each.curve(value) });
    });
    const dot = (point: { x: number; y: number }, style: string): string => {
      const [left, top] = at(point).split(',');
      return `<circle cx="${left}" cy="${top}" r="4" ${style}/>`;
    };
    const ring = each.hidden && [
      `<path d="M${at({ ...each.hidden, y: each.hidden.low })}L${at({ ...each.hidden, y: each.hidden.high })}" stroke="${colour}" stroke-width="6" opacity="0.3"/>`,
      dot(each.hidden, `fill="none" stroke="${colour}" stroke-width="2"`),
    ];
    const top = MARGIN.top + 14 + 16 * index;
    return [
      `<polyline points="${path.join(' ')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
      ...each.points.map((point) => dot(point, `fill="${colour}"`)),
      ...(ring ?? []),
      `<text x="${WIDTH - MARGIN.right}" y="${top}" text-anchor="end" style="fill:${colour}">${escape(each.label)}</text>`,
    ].join('');
  });
  return plot(`${axes(x, y, labels, (value) => compact(10 ** value))}${drawn.join('')}`, HEIGHT);
}

/** A value and its interval in each line. */
export function rangePlot(
  rows: readonly { label: string; value: number; range: readonly [number, number] }[],
  label: string,
): string {
  const height = MARGIN.top + rows.length * ROW_HEIGHT + MARGIN.bottom;
  const x = scaleOf(
    rows.flatMap(({ value, range }) => [value, ...range]),
    [NAME_WIDTH, WIDTH - MARGIN.right],
  );
  const bottom = height - MARGIN.bottom;
  const drawn = rows.map(({ label, value, range: [low, high] }, index) => {
    const top = MARGIN.top + (index + 0.5) * ROW_HEIGHT;
    const colour = colourOf(index);
    return (
      `<text x="${NAME_WIDTH - 12}" y="${top + 4}" text-anchor="end">${escape(label)}</text>` +
      `<line x1="${x.at(low)}" x2="${x.at(high)}" y1="${top}" y2="${top}" stroke="${colour}" stroke-width="2"/>` +
      `<circle cx="${x.at(value)}" cy="${top}" r="4" fill="${colour}"/>`
    );
  });
  const ticks = x.ticks.map(
    (tick) =>
      `<line class="grid" x1="${x.at(tick)}" x2="${x.at(tick)}" y1="${MARGIN.top}" y2="${bottom}"/>` +
      `<text x="${x.at(tick)}" y="${bottom + 16}" text-anchor="middle">${compact(tick)}</text>`,
  );
  const title = `<text x="${(NAME_WIDTH + WIDTH) / 2}" y="${height - 6}" text-anchor="middle">${escape(label)}</text>`;
  return plot(`${ticks.join('')}${drawn.join('')}${title}`, height);
}

/** Values to pixels. */
interface Scale {
  at: (value: number) => number;
  ticks: number[];
}

function scaleOf(values: readonly number[], [from, to]: readonly [number, number]): Scale {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  const [start, end] = [low - room, high + room];
  const step = stepOf(end - start);
  const ticks: number[] = [];
  for (let tick = Math.ceil(start / step) * step; tick <= end; tick += step) ticks.push(tick);
  const at = (value: number): number => round(from + ((value - start) / (end - start)) * (to - from));
  return { at, ticks };
}

/** Some five ticks at 1, 2 or 5 times a power of ten. */
function stepOf(span: number): number {
  const rough = span / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough)!;
}

function axes(x: Scale, y: Scale, labels: AxisLabels, describeX: (value: number) => string): string {
  const bottom = HEIGHT - MARGIN.bottom;
  const right = WIDTH - MARGIN.right;
  const columns = x.ticks.map(
    (tick) =>
      `<line class="grid" x1="${x.at(tick)}" x2="${x.at(tick)}" y1="${MARGIN.top}" y2="${bottom}"/>` +
      `<text x="${x.at(tick)}" y="${bottom + 16}" text-anchor="middle">${describeX(tick)}</text>`,
  );
  const rows = y.ticks.map(
    (tick) =>
      `<line class="grid" x1="${MARGIN.left}" x2="${right}" y1="${y.at(tick)}" y2="${y.at(tick)}"/>` +
      `<text x="${MARGIN.left - 6}" y="${y.at(tick) + 4}" text-anchor="end">${compact(tick)}</text>`,
  );
  const middle = (MARGIN.top + bottom) / 2;
  return (
    `${columns.join('')}${rows.join('')}` +
    `<text x="${(MARGIN.left + right) / 2}" y="${HEIGHT - 8}" text-anchor="middle">${escape(labels.x)}</text>` +
    `<text transform="translate(14 ${middle}) rotate(-90)" text-anchor="middle">${escape(labels.y)}</text>`
  );
}

function plot(content: string, height: number): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">${content}</svg>`;
}

function compact(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 3 });
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function colourOf(index: number): string {
  return COLOURS[index % COLOURS.length]!;
}
