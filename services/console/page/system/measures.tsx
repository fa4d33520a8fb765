import { bytes, count, duration, percent, plural, rate } from '../../shared/format.ts';
import { per } from '../../shared/interval.ts';
import { measure, MEASURE_EVERY_MS, measured, measuresProblems } from '../measures/state.ts';
import { Figures } from '../parts/figure.tsx';
import { usePolling } from '../poll.ts';

/** Shows what both services measure, and how near the query tower is to its teacher on live queries. */
export function SystemMeasures() {
  usePolling(measure, MEASURE_EVERY_MS);
  return (
    <section aria-labelledby="measures">
      <h2 id="measures">At work</h2>
      <div class="cards">
        <Work kind="document" />
        <Work kind="query" />
        <LiveQuality />
      </div>
    </section>
  );
}

function Work({ kind }: { kind: 'document' | 'query' }) {
  const { now, lately } = measured.value[kind];
  const grown = lately?.grown;
  const mean = per(grown?.callSeconds ?? 0, grown?.calls ?? 0);
  const hits = per(grown?.cacheHits ?? 0, grown?.cacheLookups ?? 0);
  return (
    <article class="card" aria-label={`${kind} service at work`}>
      <header class="card-head">
        <h3>{kind} service</h3>
      </header>
      {measuresProblems.value[kind] && <p class="muted">{measuresProblems.value[kind]}</p>}
      <Figures
        even
        of={[
          ['calls', lately && rate(lately.grown.calls, lately.seconds)],
          ['mean call', mean === undefined ? undefined : duration(mean * 1000)],
          ['refused', grown && count(grown.refused), undefined, (grown?.refused ?? 0) > 0],
          ['waiting', now && count(now.gauges.queue)],
          ...(kind === 'query'
            ? [['cache hits', hits === undefined ? undefined : percent(hits)] as const]
            : []),
          ['memory', now && bytes(now.gauges.memory)],
          ['event loop p99', now && duration(now.gauges.loopDelayP99 * 1000), 'delay of the event loop'],
        ]}
      />
    </article>
  );
}

function LiveQuality() {
  const totals = measured.value.query.now?.totals;
  const compared = totals?.compared ?? 0;
  const cosine = per(totals?.cosine ?? 0, compared);
  const overlap = per(totals?.overlap ?? 0, compared);
  return (
    <article class="card" aria-label="live quality">
      <header class="card-head">
        <h3>live quality</h3>
        <span class="muted">of the query tower, against its teacher</span>
      </header>
      <Figures
        even
        of={[
          ['cosine', cosine?.toFixed(3)],
          ['overlap@10', overlap === undefined ? undefined : percent(overlap)],
          ['compared', plural(compared, 'query', 'queries')],
        ]}
      />
      {compared > 0 ? null : (
        <p class="muted">
          Start the query service with <code>--live-share 0.01</code>, and the teacher encodes one in a
          hundred live queries as well, when there is time.
        </p>
      )}
    </article>
  );
}
