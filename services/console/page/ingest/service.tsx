import { count, duration, percent, rate } from '../../shared/format.ts';
import { per } from '../../shared/interval.ts';
import { measure, MEASURE_EVERY_MS, measured, measuresProblems } from '../measures/state.ts';
import { Figures } from '../parts/figure.tsx';
import { usePolling } from '../poll.ts';

/** Shows what the document service does for all its callers, this page among them. */
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
      <Figures
        even
        of={[
          ['documents', lately && rate(lately.grown.documents, lately.seconds)],
          ['streams', now && count(now.gauges.streams), 'open ingest streams'],
          ['queue', now && count(now.gauges.queue), 'documents that wait for a share of the token budget'],
          ['in flight', now && `${count(now.gauges.tokensInFlight)} tokens`, 'accepted and not settled yet'],
          ['batches', lately && rate(lately.grown.batches, lately.seconds)],
          ['passages a batch', size?.toFixed(1)],
          ['tokens a batch', tokens === undefined ? undefined : count(tokens)],
          ['padding', padding === undefined ? undefined : percent(padding)],
          ['time a batch', seconds === undefined ? undefined : duration(seconds * 1000)],
          ['above the watermark', now && count(now.gauges.watermarkLag)],
          [
            'watermark lag',
            now && duration(now.gauges.watermarkAge * 1000),
            'how long the oldest operation above the watermark has been waiting',
          ],
        ]}
      />
    </section>
  );
}
