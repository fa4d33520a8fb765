import { useState } from 'preact/hooks';
import type { Standing } from '../../shared/difference.ts';
import type { Hit } from '../../../../clients/answers.ts';
import { Marked, Reasons } from './explanation.tsx';
import { addFilter } from './state.ts';

/** A folded hit shows this much of its metadata. */
const BRIEF_VALUES = 4;

type HitsProps = {
  hits: readonly Hit[];
  label: string;
  /** Score that fills the bar. */
  highest: number;
  /** How each stands against the reference, where there is one. */
  standings?: readonly Standing[] | undefined;
};

/** Ranked documents. Arrow keys move among them; Enter unfolds one. */
export function Hits({ hits, label, highest, standings }: HitsProps) {
  return (
    <ol class="hits" aria-label={label}>
      {hits.map((hit, index) => {
        const share = highest > 0 ? Math.max(0, hit.score / highest) : 0;
        return <HitRow key={hit.id} hit={hit} rank={index + 1} share={share} standing={standings?.[index]} />;
      })}
    </ol>
  );
}

type RowProps = { hit: Hit; rank: number; share: number; standing: Standing | undefined };

function HitRow({ hit, rank, share, standing }: RowProps) {
  const [open, setOpen] = useState(false);
  const values = plainValues(hit.metadata);
  return (
    <li class={standing?.kind === 'only-here' ? 'hit hit-only' : 'hit'}>
      <button type="button" class="hit-head" aria-expanded={open} onClick={() => setOpen(!open)}>
        <span class="hit-rank">{rank}</span>
        <span class="hit-title">{hit.title || hit.id}</span>
        {standing && <Place standing={standing} />}
        <span class="hit-score" title="score">
          {hit.score.toFixed(3)}
          <span class="score-bar" aria-hidden="true">
            <span style={{ width: `${share * 100}%` }} />
          </span>
        </span>
      </button>
      {!open && hit.snippet ? (
        <p class="hit-text folded">
          <Marked snippet={hit.snippet} />
        </p>
      ) : (
        <p class={open ? 'hit-text' : 'hit-text folded'}>{hit.text}</p>
      )}
      {hit.legs && <InLegs legs={hit.legs} />}
      {hit.explanation && <Reasons explanation={hit.explanation} />}
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

/** Where the two legs of a hybrid search have a document. */
function InLegs({ legs: { dense, sparse } }: { legs: NonNullable<Hit['legs']> }) {
  const parts = [
    dense ? `by meaning place ${dense.rank}, ${dense.score.toFixed(3)}` : 'not by meaning',
    sparse ? `by wording place ${sparse.rank}, ${sparse.score.toFixed(2)}` : 'not by wording',
  ];
  return <p class="muted legs">{parts.join(' · ')}</p>;
}

function Place({ standing }: { standing: Standing }) {
  if (standing.kind === 'only-here')
    return <Mark title="not among the hits of the reference">only here</Mark>;
  const { up } = standing;
  if (up === 0) return <Mark title="same place as with the reference">=</Mark>;
  const title = `${Math.abs(up)} places ${up > 0 ? 'higher' : 'lower'} than with the reference`;
  return <Mark title={title}>{`${up > 0 ? '↑' : '↓'}${Math.abs(up)}`}</Mark>;
}

function Mark({ title, children }: { title: string; children: string }) {
  return (
    <span class={children === 'only here' ? 'place place-only' : 'place'} title={title}>
      {children}
    </span>
  );
}

/** Metadata as conditions that filter by it: plain values, and the elements of lists. */
function plainValues(
  metadata: Hit['metadata'],
  path = '',
): { field: string; value: string; condition: string }[] {
  return Object.entries(metadata).flatMap(([key, value]) => {
    // No condition can name such a key.
    if (/["\\]/.test(key)) return [];
    const field = `${path}${/^[\p{L}\p{N}_-]+$/u.test(key) ? key : `"${key}"`}`;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return plainValues(value, `${field}.`);
    }
    return (
      (Array.isArray(value) ? (value as unknown[]) : [value])
        .filter((each) => typeof each === 'string' || typeof each === 'number' || typeof each === 'boolean')
        // Such a text can't be put in quotes.
        .filter((each) => !/".*\||\|.*"/s.test(String(each)))
        .map((each) => ({ field, value: String(each), condition: `metadata.${field}=${literal(each)}` }))
    );
  });
}

/** A text that looks like a number, true/false or several is put in quotes, as the filter syntax wants it. */
function literal(value: string | number | boolean): string {
  const looksTyped = typeof value === 'string' && /^(?:true|false|".*"|\s*[-+.\d].*|.*\|.*)$/s.test(value);
  return looksTyped ? `"${value}"` : String(value);
}
