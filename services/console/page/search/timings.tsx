import { duration } from '../../shared/format.ts';
import { href } from '../route.ts';
import type { Column } from './state.ts';

/** Shows how long each stage of a search took. Its height is the same before the first answer. */
export function Timings({ found, label }: { found: Column['found']; label: string }) {
  if (found === undefined) return <div class="timings" aria-hidden="true" />;
  const { tokenizeMs, queueMs, encodeMs, searchMs, totalMs, cached } = found.timings;
  const rest = Math.max(0, found.wallMs - tokenizeMs - queueMs - encodeMs - searchMs);
  const stages = [
    { name: 'tokenise', ms: tokenizeMs },
    { name: 'queue', ms: queueMs },
    { name: cached ? 'encode (cached)' : 'encode', ms: encodeMs },
    { name: 'store', ms: searchMs },
    { name: 'wire', ms: rest },
  ];
  return (
    <div class="timings">
      <div class="timings-head">
        <strong>{duration(found.wallMs)}</strong>
        <span class="muted">
          {duration(totalMs)} in the service · {label}
        </span>
        <a href={href('traces', found.traceId)} class="trace-link">
          Trace<span class="unseen"> of this search</span> <span aria-hidden="true">→</span>
        </a>
      </div>
      <div class="stage-bar" aria-hidden="true">
        {stages.map(({ name, ms }, index) => (
          <span key={name} class={`stage-${index}`} style={{ flexGrow: ms / found.wallMs }} />
        ))}
      </div>
      <dl class="stages">
        {stages.map(({ name, ms }, index) => (
          <div key={index}>
            <dt>
              <i class={`stage-${index}`} />
              {name}
            </dt>
            <dd>{duration(ms)}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
