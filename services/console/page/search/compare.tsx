import { overlap, standings } from '../../shared/difference.ts';
import { duration, percent } from '../../shared/format.ts';
import type { ServiceState } from '../../shared/wire.ts';
import { Figures } from '../parts/figure.tsx';
import { Command, Empty, Problem } from '../parts/notice.tsx';
import { href } from '../route.ts';
import { nameOf, queryServices } from '../system/state.ts';
import { Hits } from './hits.tsx';
import { ask, columns, cosines, limit } from './state.ts';

/**
 * The same query to every query tower, side by side. The reference is the teacher where one of them is (a query
 * service that runs the document tower itself), else the first.
 */
export function Compare() {
  const services = queryServices.value;
  if (services.length < 2) return <HowToCompare />;
  const reference = services.find(({ info }) => info?.tower.role === 'document') ?? services[0]!;
  return (
    <div class="columns">
      {services.map((service) => (
        <TowerColumn key={service.address} service={service} reference={reference} />
      ))}
    </div>
  );
}

function TowerColumn({ service, reference }: { service: ServiceState; reference: ServiceState }) {
  const column = columns.value.get(service.address);
  const found = column?.found;
  const hits = found?.hits ?? [];
  const against = columns.value.get(reference.address)?.found;
  const isReference = service === reference;
  const isTeacher = service.info?.tower.role === 'document';
  const ids = hits.map(({ id }) => id);
  const referenceIds = against?.hits.map(({ id }) => id) ?? [];
  const comparable = !isReference && found !== undefined && against?.query === found.query;
  const shared = comparable ? percent(overlap(ids, referenceIds)) : undefined;
  const near = cosineOf(service.address, reference.address);
  const retention = service.info?.tower.retention;
  return (
    <section class="column" aria-label={nameOf(service)}>
      <header class="column-head">
        <h2 class="minor">{nameOf(service)}</h2>
        <p class="muted">
          {isReference ? (isTeacher ? 'teacher · the reference' : 'the reference') : service.address}
          {retention === undefined ? '' : ` · keeps ${percent(retention)} of its teacher’s nDCG@10`}
        </p>
        <Figures
          of={[
            [isTeacher || !isReference ? 'cosine' : 'cosine to itself', isReference ? '1' : near?.toFixed(3)],
            [`overlap@${limit.value}`, isReference ? '100 %' : shared],
            ['encode', found && (found.timings.cached ? 'cached' : duration(found.timings.encodeMs))],
            ['total', found && duration(found.timings.totalMs)],
          ]}
        />
      </header>
      <Problem action={{ label: 'Ask again', run: ask }}>{column?.problem?.message}</Problem>
      <Hits
        hits={hits}
        label={`hits of ${nameOf(service)}`}
        highest={hits[0]?.score ?? 0}
        standings={comparable ? standings(ids, referenceIds) : undefined}
      />
      {found && (
        <p class="column-foot">
          <a href={href('traces', found.traceId)}>Trace →</a>
        </p>
      )}
    </section>
  );
}

function cosineOf(a: string, b: string): number | null | undefined {
  const answer = cosines.value;
  if (answer === undefined) return undefined;
  return answer.cosines[answer.services.indexOf(a)]?.[answer.services.indexOf(b)];
}

function HowToCompare() {
  const [service] = queryServices.value;
  return (
    <Empty title="There is only one query tower, and nothing to compare it with.">
      <p>
        Start another query service, with a student of yours or with the document tower as its own teacher:
      </p>
      <Command>{'node dist/services/query/main.js --port 7405 --query-tower all-MiniLM-L6-v2'}</Command>
      <p>and tell the console about it:</p>
      <Command>
        {`node dist/services/console/main.js --query-address ${service?.address ?? '127.0.0.1:7402'} --compare-addresses 127.0.0.1:7405`}
      </Command>
    </Empty>
  );
}
