import { count, duration, percent, rate } from '../../shared/format.ts';
import { per } from '../../shared/interval.ts';
import { measure, MEASURE_EVERY_MS, measured, measuresProblems } from '../measures/state.ts';
import { Figure } from '../parts/figure.tsx';
import { usePolling } from '../poll.ts';

/** What the document service does for all who send it documents, this page among them. */
export function IngestService() {
  usePolling(measure, MEASURE_EVERY_MS);
  const { now, lately } = measured.value.document;
  const problem = measuresProblems.value.document;
  const grown = lately?.grown;
  const ofBatches = (total: number | undefined): number | undefined => per(total ?? 0, grown?.batches ?? 0);
  const padding = ofBatches(grown?.batchPadding);
  const seconds = ofBatches(grown?.batchSeconds);
  const size = ofBatches(grown?.batchInputs);
  const tokens = ofBatches(grown?.batchTokens);
  return (
    <section class="card" aria-label="the document service">
      <header class="card-head">
        <h2 class="minor">Document service</h2>
        <span class="muted">
          {problem ?? 'all streams together; rates and means over the last ten seconds'}
        </span>
      </header>
      <dl class="figures figures-even">
        <Figure name="documents" value={lately && rate(lately.grown.documents, lately.seconds)} />
        <Figure name="streams" value={now && count(now.gauges.streams)} title="open ingest streams" />
        <Figure
          name="queue"
          value={now && count(now.gauges.queue)}
          title="documents that wait for a share of the token budget"
        />
        <Figure
          name="in flight"
          value={now && `${count(now.gauges.tokensInFlight)} tokens`}
          title="tokens that were taken in and are not settled"
        />
        <Figure name="batches" value={lately && rate(lately.grown.batches, lately.seconds)} />
        <Figure name="passages a batch" value={size?.toFixed(1)} />
        <Figure name="tokens a batch" value={tokens === undefined ? undefined : count(tokens)} />
        <Figure name="padding" value={padding === undefined ? undefined : percent(padding)} />
        <Figure name="time a batch" value={seconds === undefined ? undefined : duration(seconds * 1000)} />
        <Figure name="under no watermark" value={now && count(now.gauges.watermarkLag)} />
        <Figure
          name="watermark lag"
          value={now && duration(now.gauges.watermarkAge * 1000)}
          title="how long the oldest operation under no watermark has been there"
        />
      </dl>
    </section>
  );
}
