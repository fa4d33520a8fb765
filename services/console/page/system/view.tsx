import type { ComponentChildren } from 'preact';
import { count, duration, percent, plural } from '../../shared/format.ts';
import type { Tower } from '../../../../clients/answers.ts';
import type { Collection, ServiceState, SystemAnswer } from '../../shared/wire.ts';
import { Command, Empty, Problem } from '../parts/notice.tsx';
import { Table } from '../parts/table.tsx';
import { href } from '../route.ts';
import { SystemMeasures } from './measures.tsx';
import { look, nameOf, system, systemProblem } from './state.ts';

/** Shows the services, and what belongs to each space: towers and collections. */
export function SystemView() {
  const there = system.value;
  return (
    <div class="system">
      <Problem action={{ label: 'Look again', run: () => void look() }}>
        {systemProblem.value?.message}
      </Problem>
      {there && (
        <>
          <section aria-labelledby="services">
            <h2 id="services">Services</h2>
            <div class="cards">
              {there.services.map((service) => (
                <Service key={service.address} service={service} />
              ))}
            </div>
          </section>
          <SystemMeasures />
          <Spaces there={there} />
          <p class="muted">console {there.version}</p>
        </>
      )}
    </div>
  );
}

const HEALTH = { SERVING: 'serving', NOT_SERVING: 'not serving', UNREACHABLE: 'unreachable' } as const;

function Service({ service }: { service: ServiceState }) {
  const { kind, address, health, info, latencyMs = 0, problem } = service;
  const facts: [name: string, value: ComponentChildren][] = [['address', <code>{address}</code>]];
  if (info !== undefined) {
    const { tower } = info;
    facts.push(['tower', tower.name], ['runs on', tower.device]);
    facts.push(['reads up to', plural(tower.maxTokens, 'token')]);
    if (tower.retention !== undefined) {
      facts.push(['keeps', `${percent(tower.retention)} of its teacher’s nDCG@10`]);
    }
    facts.push(['store', info.store], ['up for', duration(info.uptimeSeconds * 1000)]);
    facts.push(['process', `${info.pid}, version ${info.version}`], ['answers in', duration(latencyMs)]);
  }
  return (
    <article class="card" aria-label={`${kind} service at ${address}`}>
      <header class="card-head">
        <h3>{kind} service</h3>
        <span class={`badge badge-${health === 'SERVING' ? 'done' : 'failed'}`}>{HEALTH[health]}</span>
      </header>
      {health === 'NOT_SERVING' && info?.notServingReason !== undefined && <p>{info.notServingReason}</p>}
      {problem && (
        <>
          <p>{problem}</p>
          <Command>npm start</Command>
        </>
      )}
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
    </article>
  );
}

interface SpaceContents {
  fingerprint: string;
  dimensions: number;
  towers: { service: ServiceState; tower: Tower }[];
  collections: Collection[];
}

function Spaces({ there }: { there: SystemAnswer }) {
  const spaces = spacesOf(there);
  return (
    <section aria-labelledby="spaces">
      <h2 id="spaces">Spaces</h2>
      <Problem>
        {there.collectionsProblem && `Collections can’t be listed: ${there.collectionsProblem}`}
      </Problem>
      {spaces.map((space) => (
        <article key={space.fingerprint} class="card" aria-label={`space ${space.fingerprint}`}>
          <header class="card-head">
            <h3>
              <code>{space.fingerprint}</code>
            </h3>
            <span class="muted">{space.dimensions} dimensions</span>
          </header>
          <p class="muted">
            {space.towers.length === 0
              ? 'No tower that runs here belongs to it: its collections can’t be searched until one does.'
              : `Encoded by ${space.towers.map(({ service }) => `${nameOf(service)} (${service.kind} service)`).join(', ')}.`}
          </p>
          {space.collections.length === 0 ? (
            <p>
              No collection yet. <a href={href('ingest')}>Drop a file</a> to make one.
            </p>
          ) : (
            <Collections collections={space.collections} />
          )}
        </article>
      ))}
      {spaces.length === 0 && <Empty title="No service answers, so no space is known." />}
    </section>
  );
}

function Collections({ collections }: { collections: readonly Collection[] }) {
  const rows = collections.map(({ aliases, physicalName, documents, passages }) => [
    aliases.length > 0 ? aliases.join(', ') : <span class="muted">none leads here</span>,
    <code>{physicalName}</code>,
    count(documents),
    count(passages),
  ]);
  return <Table head={['alias', 'physical collection', '#documents', '#passages']} rows={rows} />;
}

function spacesOf({ services, collections }: SystemAnswer): SpaceContents[] {
  const spaces = new Map<string, SpaceContents>();
  const at = ({ fingerprint, dimensions }: Tower['space']): SpaceContents => {
    const found = spaces.get(fingerprint) ?? { fingerprint, dimensions, towers: [], collections: [] };
    spaces.set(fingerprint, found);
    return found;
  };
  for (const service of services) {
    if (service.info !== undefined) {
      at(service.info.tower.space).towers.push({ service, tower: service.info.tower });
    }
  }
  for (const collection of collections) at(collection.space).collections.push(collection);
  return [...spaces.values()];
}
