import { useState } from 'preact/hooks';
import type { Standing } from '../../shared/difference.ts';
import type { Hit } from '../../../../clients/answers.ts';
import { addFilter } from './state.ts';

/** Metadata that is shown beside a hit that is folded. */
const BRIEF_VALUES = 4;

/** Ranked documents. Arrow keys move among them; Enter unfolds one. */
export function Hits({
  hits,
  label,
  highest,
  standings,
}: {
  hits: readonly Hit[];
  label: string;
  /** Score that fills the bar. */
  highest: number;
  /** How each stands against the reference, where there is one. */
  standings?: readonly Standing[];
}) {
  return (
    <ol class="hits" aria-label={label}>
      {hits.map((hit, index) => (
        <HitRow
          key={hit.id}
          hit={hit}
          rank={index + 1}
          share={highest > 0 ? Math.max(0, hit.score / highest) : 0}
          standing={standings?.[index]}
        />
      ))}
    </ol>
  );
}

function HitRow({
  hit,
  rank,
  share,
  standing,
}: {
  hit: Hit;
  rank: number;
  share: number;
  standing: Standing | undefined;
}) {
  const [open, setOpen] = useState(false);
  const values = plainValues(hit.metadata);
  return (
    <li class={standing?.kind === 'only-here' ? 'hit hit-only' : 'hit'}>
      <button type="button" class="hit-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class="hit-rank">{rank}</span>
        <span class="hit-title">{hit.title || hit.id}</span>
        {standing === undefined ? null : <Place standing={standing} />}
        <span class="hit-score" title="score">
          {hit.score.toFixed(3)}
          <span class="score-bar" aria-hidden="true">
            <span style={{ width: `${share * 100}%` }} />
          </span>
        </span>
      </button>
      <p class={open ? 'hit-text' : 'hit-text folded'}>{hit.text}</p>
      {open || values.length > 0 ? (
        <ul class={open ? 'values' : 'values folded'} aria-label="metadata">
          {(open ? values : values.slice(0, BRIEF_VALUES)).map(({ field, value, condition }) => (
            <li key={`${field}=${value}`}>
              <button
                type="button"
                title={`search only where ${condition}`}
                onClick={() => addFilter(condition)}
              >
                <span class="muted">{field}</span> {value}
              </button>
            </li>
          ))}
          {open ? (
            <li class="muted">
              <code>{hit.id}</code> · passage {hit.passage}
              {hit.version > 0 ? ` · version ${hit.version}` : ''}
            </li>
          ) : null}
        </ul>
      ) : null}
    </li>
  );
}

function Place({ standing }: { standing: Standing }) {
  if (standing.kind === 'only-here') {
    return (
      <span class="place place-only" title="not among the hits of the reference">
        only here
      </span>
    );
  }
  const { up } = standing;
  if (up === 0) {
    return (
      <span class="place" title="same place as with the reference">
        =
      </span>
    );
  }
  return (
    <span
      class="place"
      title={`${Math.abs(up)} places ${up > 0 ? 'higher' : 'lower'} than with the reference`}
    >
      {up > 0 ? '↑' : '↓'}
      {Math.abs(up)}
    </span>
  );
}

/** Metadata as conditions that filter by it: plain values, and the elements of lists. */
function plainValues(
  metadata: Hit['metadata'],
  path = '',
): { field: string; value: string; condition: string }[] {
  return Object.entries(metadata).flatMap(([key, value]) => {
    const field = `${path}${key}`;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return plainValues(value, `${field}.`);
    }
    return (
      (Array.isArray(value) ? (value as unknown[]) : [value])
        .filter((each) => typeof each === 'string' || typeof each === 'number' || typeof each === 'boolean')
        // The filter syntax takes a bar for "or".
        .filter((each) => !String(each).includes('|'))
        .map((each) => ({ field, value: String(each), condition: `metadata.${field}=${literal(each)}` }))
    );
  });
}

/** A text that looks like a number or true/false is put in quotes, as the filter syntax wants it. */
function literal(value: string | number | boolean): string {
  const looksTyped = typeof value === 'string' && /^(?:true|false|".*"|\s*[-+.\d].*)$/s.test(value);
  return looksTyped ? `"${value}"` : String(value);
}
