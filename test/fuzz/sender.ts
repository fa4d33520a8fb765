import { setTimeout as sleep } from 'node:timers/promises';
import { v1 } from '../../proto/load.ts';
import type { Case, Outcome, ServiceName } from './case.ts';
import { PREY } from './hostile.ts';
import { BUSY } from './judge.ts';
import { enveloped, grpcHeaders } from './kinds/kind.ts';
import { STEADY, STEADY_DOCUMENTS, WORDS, WRITTEN } from './kinds/right.ts';
import { sendAlone } from './own-connection.ts';
import { SharedConnection } from './shared-connection.ts';
import type { Site } from './site.ts';

/** What is neither answered nor closed within this hangs: more than any timeout of a service that a case can wait for. */
const HANG_MS = 60_000;
/** Connections to a service that cases share. */
const SHARED = 3;
/** How often a right call is sent again that was told to come later, and the pause before, which doubles up to a second. */
const RETRIES = 60;
const RETRY_MS = 50;
const MAX_RETRY_MS = 1_000;

/** Sends cases to a site. */
export class Sender {
  readonly #site: Site;
  readonly #shared = new Map<string, (SharedConnection | undefined)[]>();
  #turn = 0;

  constructor(site: Site) {
    this.#site = site;
  }

  async send(one: Case): Promise<Outcome> {
    for (let attempt = 0; ; attempt++) {
      const outcome = await this.#sendOnce(one);
      const [status = ''] = outcome.statuses;
      const isBusy = BUSY.has(status) && !one.allowed.includes(status) && !one.allowed.includes('*');
      if (!isBusy || attempt === RETRIES) return outcome;
      await sleep(Math.min(RETRY_MS * 2 ** attempt, MAX_RETRY_MS));
    }
  }

  /** Calls a method well. @returns the status */
  async call(
    service: ServiceName,
    keyed: boolean,
    path: string,
    messages: readonly Buffer[],
  ): Promise<string> {
    const more = keyed ? [['authorization', `Bearer ${this.#site.ground.key}`] as const] : [];
    const { statuses } = await this.send({
      kind: 'call',
      service,
      keyed,
      allowed: ['OK'],
      wire: {
        on: 'stream',
        headers: grpcHeaders(path, more),
        data: messages.map((message) => enveloped(message)),
        end: 'data',
      },
    });
    return statuses.join(' ');
  }

  /** Fills the collections that cases name. */
  async fill(): Promise<void> {
    const { Ingest } = v1.DocumentService.service;
    for (const keyed of [false, true]) {
      for (const collection of [STEADY, PREY, WRITTEN]) {
        const documents = Array.from({ length: STEADY_DOCUMENTS }, (_, index) => ({
          sequence: index + 1,
          document: {
            id: `d${index}`,
            title: WORDS[index % WORDS.length]!,
            text: WORDS.map((_each, at) => WORDS[(index * 3 + at * 7) % WORDS.length]).join(' '),
          },
        }));
        const status = await this.call('document', keyed, Ingest.path, [
          Ingest.requestSerialize({ begin: { collection } }),
          ...documents.map((each) => Ingest.requestSerialize(each)),
        ]);
        if (status !== 'OK') throw new Error(`the collections could not be filled: ${status}`);
      }
    }
  }

  /** What services say to calls that are right, where it is not OK. */
  async canary(): Promise<string | undefined> {
    const { Search } = v1.QueryService.service;
    const { Count } = v1.DocumentService.service;
    for (const keyed of [false, true]) {
      const search = Search.requestSerialize({ collection: STEADY, query: 'red fox' });
      const count = Count.requestSerialize({ collection: STEADY });
      for (const [service, path, message] of [
        ['query', Search.path, search],
        ['document', Count.path, count],
      ] as const) {
        const status = await this.call(service, keyed, path, [message]);
        if (status !== 'OK') return `the ${service} service${keyed ? ' with keys' : ''} says ${status}`;
      }
    }
    return undefined;
  }

  close(): void {
    for (const connections of this.#shared.values()) for (const one of connections) one?.close();
    this.#shared.clear();
  }

  async #sendOnce({ service, keyed, wire }: Case): Promise<Outcome> {
    const { address } = this.#site.service(service, keyed);
    if (wire.on !== 'stream') return sendAlone(address, wire, HANG_MS);
    if (wire.alone === true) {
      const connection = new SharedConnection(address);
      const outcome = await connection.send(wire, HANG_MS);
      connection.close();
      return outcome;
    }
    const pool = this.#shared.get(`${service} ${keyed}`) ?? [];
    this.#shared.set(`${service} ${keyed}`, pool);
    const at = this.#turn++ % SHARED;
    let connection = pool[at];
    if (!connection?.usable) connection = pool[at] = new SharedConnection(address);
    return connection.send(wire, HANG_MS);
  }
}
