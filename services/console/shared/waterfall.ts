import type { TraceSpan } from '../../../clients/console-traces.ts';

/** A span's place in a waterfall. */
export interface WaterfallRow {
  span: TraceSpan;
  /** How many of its ancestors are there. */
  depth: number;
}

/** What a waterfall shows: rows from the top, and the stretch of time that they lie in, in milliseconds. */
export interface Waterfall {
  rows: WaterfallRow[];
  startMs: number;
  endMs: number;
}

/**
 * Spans as a tree from the top: each one's children below it, by their start. A span whose parent is not there, for
 * it belongs to a caller who sends no spans here, stands at the root; so does one that is its own ancestor.
 */
export function waterfall(spans: readonly TraceSpan[]): Waterfall {
  const byStart = [...spans].sort((a, b) => a.startMs - b.startMs);
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const children = new Map<string | null, TraceSpan[]>();
  for (const span of byStart) {
    const parent = span.parentSpanId !== null && ids.has(span.parentSpanId) ? span.parentSpanId : null;
    children.set(parent, [...(children.get(parent) ?? []), span]);
  }
  const rows: WaterfallRow[] = [];
  const placed = new Set<string>();
  const place = (span: TraceSpan, depth: number): void => {
    if (placed.has(span.spanId)) return;
    placed.add(span.spanId);
    rows.push({ span, depth });
    for (const child of children.get(span.spanId) ?? []) place(child, depth + 1);
  };
  for (const root of children.get(null) ?? []) place(root, 0);
  for (const span of byStart) place(span, 0);
  return {
    rows,
    startMs: Math.min(...spans.map(({ startMs }) => startMs)),
    endMs: Math.max(...spans.map(({ startMs, durationMs }) => startMs + durationMs)),
  };
}

/** Two to six round marks within a stretch of time, for the axis of a waterfall. */
export function ticks(startMs: number, endMs: number): number[] {
  const length = endMs - startMs;
  if (!(length > 0)) return [startMs];
  const raw = length / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw * 0.999) ?? raw;
  const marks: number[] = [];
  for (let index = 0; index * step < length * 0.97; index++) marks.push(startMs + index * step);
  return marks;
}
