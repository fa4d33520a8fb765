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
 * Orders spans as a tree from the top: below each one its children, by their start. A span whose parent is missing,
 * because a caller sends its own spans elsewhere, stands at the root; so does one that is its own ancestor.
 */
export function waterfall(spans: readonly TraceSpan[]): Waterfall {
  const byStart = [...spans].sort((a, b) => a.startMs - b.startMs);
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const children = new Map<string | null, TraceSpan[]>([[null, []]]);
  for (const { spanId } of spans) children.set(spanId, []);
  for (const span of byStart) {
    const parent = span.parentSpanId !== null && ids.has(span.parentSpanId) ? span.parentSpanId : null;
    children.get(parent)!.push(span);
  }
  const rows = new Map<string, WaterfallRow>();
  // Spans that are each other's ancestors have no root above them: what is still missing comes last.
  const open = [...children.get(null)!, ...byStart].toReversed().map((span) => ({ span, depth: 0 }));
  for (let row = open.pop(); row !== undefined; row = open.pop()) {
    const { span, depth } = row;
    if (rows.has(span.spanId)) continue;
    rows.set(span.spanId, row);
    open.push(
      ...children
        .get(span.spanId)!
        .toReversed()
        .map((child) => ({ span: child, depth: depth + 1 })),
    );
  }
  return {
    rows: [...rows.values()],
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
