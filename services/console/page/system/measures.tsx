import { bytes, count, duration, percent, plural, rate } from '../../shared/format.ts';
import { per } from '../../shared/interval.ts';
import { measure, MEASURE_EVERY_MS, measured, measuresProblems } from '../measures/state.ts';
import { Figure } from '../parts/figure.tsx';
import { usePolling } from '../poll.ts';

/** What both services measure, and how near the query tower is to its teacher on live queries. */
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
      {measuresProblems.value[kind] === undefined ? null : (
        <p class="muted">{measuresProblems.value[kind]}</p>
      )}
      <dl class="figures figures-even">
        <Figure name="calls" value={lately && rate(lately.grown.calls, lately.seconds)} />
        <Figure name="mean call" value={mean === undefined ? undefined : duration(mean * 1000)} />
        <Figure name="refused" value={grown && count(grown.refused)} bad={(grown?.refused ?? 0) > 0} />
        <Figure name="waiting" value={now && count(now.gauges.queue)} />
        {kind === 'query' ? (
          <Figure name="cache hits" value={hits === undefined ? undefined : percent(hits)} />
        ) : null}
        <Figure name="memory" value={now && bytes(now.gauges.memory)} />
        <Figure
          name="event loop p99"
          value={now && duration(now.gauges.loopDelayP99 * 1000)}
          title="how much later than planned the event loop turns"
        />
      </dl>
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
      <dl class="figures figures-even">
        <Figure name="cosine" value={cosine?.toFixed(3)} />
        <Figure name="overlap@10" value={overlap === undefined ? undefined : percent(overlap)} />
        <Figure name="compared" value={plural(compared, 'query', 'queries')} />
      </dl>
      {compared > 0 ? null : (
        <p class="muted">
          Start the query service with <code>--live-share 0.01</code>, and the teacher encodes one in a
          hundred live queries as well, when there is time.
        </p>
      )}
    </article>
  );
}
