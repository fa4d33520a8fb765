import type { Tower } from '../../../towers/tower.ts';
import type { Metrics } from './metrics.ts';

/** Measures the runs of a tower's model. */
export function measureTower(tower: Pick<Tower, 'manifest' | 'onBatch'>, metrics: Metrics): void {
  const attributes = { 'scalingnote.tower': tower.manifest.name };
  const sizes = metrics.batchSize(attributes);
  const tokensPerRun = metrics.batchTokens(attributes);
  const padding = metrics.batchPadding(attributes);
  const durations = metrics.batchDuration(attributes);
  const total = metrics.tokens(attributes);
  tower.onBatch(({ size, tokens, paddingRatio, encodeMs }) => {
    sizes.record(size);
    tokensPerRun.record(tokens);
    padding.record(paddingRatio);
    durations.record(encodeMs / 1000);
    total.add(tokens);
  });
}
